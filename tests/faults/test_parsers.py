"""Everything that reads what others wrote, on nearly right input: it takes it or says no, soon, and never as a bug."""

from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from crd.manifest import parse_manifest
from crd.pod_failures import read_failure
from crd.stored_nodes import read_nodes
from crd.workflow_nodes import Attempt
from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import publish
from steps.command.flags import split_list
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock, LockedFile
from steps.core.progress import event_from_json
from steps.core.receipts import Receipt, dump_receipt, parse_receipt
from steps.core.settings import read_settings
from steps.frameworks.model_card import licence
from steps.gate.json_files import check_config, check_json
from steps.gate.weights import check_index, read_header
from steps.images.assembly.base_image import read_base
from steps.images.registry.credentials import find_credentials
from steps.images.registry.reference import Reference
from steps.images.registry.repository import Repository, digest_of
from steps.net.retry import retry_after
from steps.net.urls import check_hop, check_source, parse
from steps.package.tar_writer import Entry, tar_gz
from steps.package.unpack import unpack_archive
from steps.sources.client import SourceClient
from steps.sources.lfs_api import LfsClient, Pointer, parse_pointer
from tests.conftest import FakeClock
from tests.crd.model_objects import right
from tests.faults.mutations import mutations
from tests.servers.oci_registry import OciRegistry
from tests.steps.images.oci_build import BASE, put_base
from tests.steps.model_trees import model_tree, safetensors

pytestmark = pytest.mark.fault("refused")

SECONDS = 2.0  # of CPU for one input
BUDGET = 15.0  # of CPU for all inputs of one kind
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SOURCE = "https://forge.example/org/model"
OID = "ab" * 32
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n".encode()
CONFIG = {"architectures": ["BertModel"], "model_type": "bert", "id2label": {"0": "a"}, "vocab_size": 7, "x": [1.5, None, {}]}
LOCK = Lock.from_files(
    [LockedFile(path="model.safetensors", size=4, sha256=OID)], source_kind="git_lfs", source=SOURCE, revision="0" * 40
)
RECEIPT = dump_receipt(Receipt(step="fetch", inputs={"a": 1}, outputs={}, started="2026", seconds=1.0, cpu_seconds=0.5))
FAILURE = {"reason": "NotLfs", "message": "m", "hint": "h", "retryable": False}

Parser = Callable[[bytes], object]


def text(data: bytes) -> str:
    return data.decode(errors="replace")


def documents(value: object) -> tuple[bytes, ...]:
    return (json.dumps(value).encode(), json.dumps(value, indent=1).encode())


def by_file(read: Callable[[Path], object], path: Path) -> Parser:
    """A parser of a file's content."""

    def parser(data: bytes) -> object:
        path.write_bytes(data)
        return read(path)

    return parser


def archive() -> bytes:
    files = {"src/lock.json": LOCK.model_dump_json(), "src/service.py": "pass\n", "src/model/model.safetensors": "abcd"}
    return b"".join(tar_gz(Entry(path, len(content), [content.encode()]) for path, content in sorted(files.items())))


def manifest() -> bytes:
    return yaml.safe_dump({"apiVersion": "slipway.dev/v1alpha1", "kind": "Model", **right()}).encode()


PLAIN: dict[str, tuple[tuple[bytes, ...], Parser]] = {
    "pointer": ((POINTER,), lambda data: parse_pointer(data, "model.safetensors")),
    "index": (
        documents({"metadata": {"total_size": 4}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}),
        lambda data: check_index("model.safetensors.index.json", data, {"1.safetensors", "2.safetensors"}),
    ),
    "config.json": (documents(CONFIG), check_config),
    "JSON of a model": (
        documents({**CONFIG, "chat_template": "{{ x }}"}),
        lambda data: check_json("tokenizer_config.json", data),
    ),
    "tokenizer.json": (documents({"model": {"vocab": {"a": 0}}}), lambda data: check_json("tokenizer.json", data)),
    "receipt": ((RECEIPT,), parse_receipt),
    "Retry-After": (
        (b"120", email.utils.format_datetime(NOW).encode(), b"Fri, 31 Dec 1999 23:59:59 GMT"),
        lambda data: retry_after(text(data), NOW),
    ),
    "address": (
        (SOURCE.encode(), b"http://127.0.0.1:8080/a%20b/c.git?x=1", b"https://[2001:db8::1]:443/x"),
        lambda data: (parse(text(data)), check_source(text(data)), check_hop(text(data), parse(SOURCE))),
    ),
    "manifest": ((manifest(),), lambda data: parse_manifest(text(data), "model.yaml")),
    "progress": ((b'{"kind": "note", "text": "x", "done": 0, "total": 0}',), lambda data: event_from_json(text(data))),
    "list": ((b'["a", "b"]', b"a,b"), lambda data: split_list(text(data))),
    "termination log": (
        (b"main: Error (exit code 10): " + json.dumps(FAILURE).encode(),),
        lambda data: read_failure(Attempt("Failed", text(data), "10", "", "")),
    ),
    "packed nodes": (
        (b"H4sIAAAAAAACA6uuBQBDv6ajAgAAAA==",),
        lambda data: read_nodes({"metadata": {"name": "w"}, "status": {"compressedNodes": text(data)}}),
    ),
    "image name": (
        (b"registry.example:5000/team/app:1.0", b"python@sha256:" + b"0" * 64),
        lambda data: Reference.parse(text(data)),
    ),
}


def files(folder: Path) -> dict[str, tuple[tuple[bytes, ...], Parser]]:
    """Parsers of what is in files."""
    header = safetensors({"a": b"abcd", "b": b"efgh"}, {"format": "pt"})
    docker = {"auths": {"registry.example": {"auth": "dTpw"}}, "credHelpers": {}}
    card = b"---\nlicense: apache-2.0\ntags: [a, b]\n---\n# A model\n"
    settings = b'store = "gs://bucket/x"\nbuilder = "plan"\nregistry = "r.example/x"\n'

    def unpack(path: Path) -> object:
        target = folder / f"unpacked-{time.monotonic_ns()}"
        return unpack_archive([path.read_bytes()], target, what="archive")

    return {
        "safetensors": ((header,), by_file(lambda path: read_header(path, "model.safetensors"), folder / "model.safetensors")),
        "archive": ((archive(),), by_file(unpack, folder / "it.tar.gz")),
        "credentials": (
            documents(docker),
            by_file(lambda path: find_credentials("registry.example", "a"), folder / "config.json"),
        ),
        "model card": ((card,), by_file(lambda path: licence(path.parent), folder / "README.md")),
        "slipway.toml": ((settings,), by_file(lambda path: read_settings({}, path.parent), folder / "slipway.toml")),
    }


FILES = tuple(files(Path()))


def feed(parser: Parser, examples: tuple[bytes, ...], count: int) -> None:
    """Give a parser changed examples, ``count`` or as many as fit the time; it may raise a reason, and that not of a bug."""
    end = time.process_time() + BUDGET
    for number, data in enumerate(mutations(examples, count, seed=1)):
        begin = time.process_time()
        if begin > end:
            break
        story = f"input {number}: {data[:300]!r}"
        refusal: SlipwayError | None = None
        try:
            parser(data)
        except SlipwayError as error:
            refusal = error
        except Exception as error:
            raise AssertionError(story) from error
        assert time.process_time() - begin < SECONDS, story
        if refusal is not None:
            assert refusal.reason is not Reason.INTERNAL_ERROR, story
            assert 0 < len(refusal.message) < 9000, story


@pytest.mark.parametrize("kind", PLAIN)
def test_texts_are_read_or_refused(kind: str) -> None:
    feed(PLAIN[kind][1], PLAIN[kind][0], 60)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", FILES)
def test_files_are_read_or_refused(kind: str, folder: Path) -> None:
    examples, parser = files(folder)[kind]
    feed(parser, examples, 40)


@pytest.mark.hard
class TestMany:
    """The same with many more inputs, and answers of servers."""

    @pytest.mark.parametrize("kind", PLAIN)
    def test_texts(self, kind: str) -> None:
        feed(PLAIN[kind][1], PLAIN[kind][0], 20_000)

    @pytest.mark.parametrize("kind", FILES)
    def test_files(self, kind: str, folder: Path) -> None:
        examples, parser = files(folder)[kind]
        feed(parser, examples, 5_000)

    def test_answers_of_a_git_lfs_server(self, batch: tuple[Parser, bytes]) -> None:
        feed(batch[0], (batch[1],), 4_000)

    @pytest.mark.parametrize("kind", ["manifest", "index", "configuration"])
    def test_images_of_a_registry(self, base: tuple[OciRegistry, Reference, str], kind: str) -> None:
        registry, reference, digest = base
        images, blobs = registry.manifests["library/python"], registry.blobs["library/python"]
        top, manifest = images["3.11-slim"], json.loads(images[digest][1])

        def put(data: bytes) -> None:
            """Publish an image of which one document is changed, under the changed one's own digest."""
            if kind == "index":
                images["3.11-slim"] = (top[0], data)
            elif kind == "manifest":
                images["3.11-slim"] = (images[digest][0], data)
            else:
                blobs[digest_of(data)] = data
                config = {**manifest["config"], "digest": digest_of(data), "size": len(data)}
                images["3.11-slim"] = (images[digest][0], json.dumps({**manifest, "config": config}).encode())

        examples = {"index": top[1], "manifest": images[digest][1], "configuration": blobs[manifest["config"]["digest"]]}
        with Repository(reference, plain_http=[registry.host], clock=FakeClock(), note=lambda text: None) as repository:

            def parser(data: bytes) -> object:
                put(data)
                return read_base(reference, repository)

            assert parser(examples[kind])
            feed(parser, (examples[kind],), 300)


@pytest.fixture
def base() -> Iterator[tuple[OciRegistry, Reference, str]]:
    """A base image for two platforms, and the digest of the manifest for this one."""
    with OciRegistry() as registry:
        digest = put_base(registry, platforms=("linux/amd64", "linux/arm64"))
        yield registry, Reference.parse(f"{registry.host}/{BASE}"), digest


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[tuple[Parser, bytes]]:
    """A client of an LFS server whose answer to a batch is the input, and the right answer."""
    answer = {"data": b"{}"}

    class Batch(ForgeHandler):
        def lfs_batch(self, name: str, body: bytes) -> Reply:
            data = answer["data"]
            return Reply(200, {"Content-Type": "application/vnd.git-lfs+json", "Content-Length": str(len(data))}, [data])

    publish(tmp_path / "forge", "bert", model_tree(tmp_path / "tree"))
    with Forge(tmp_path / "forge", handler=Batch) as forge:
        repository = check_source(forge.url("bert"))
        http = SourceClient(repository, FakeClock())
        entry: dict[str, Any] = {"oid": OID, "size": 12345, "authenticated": True}
        entry["actions"] = {
            "download": {"href": f"{repository.origin}/o/{OID}", "header": {"Authorization": "Basic eA=="}, "expires_in": 60}
        }

        def parser(data: bytes) -> object:
            answer["data"] = data
            client = LfsClient(repository, http, FakeClock(), lambda text: None)
            return client.locate({"model.safetensors": Pointer(OID, 12345)})

        yield parser, json.dumps({"transfer": "basic", "objects": [entry]}).encode()
        http.close()
