"""``sourceKind: upload``: a folder or a bucket prefix, pinned by its listing and copied byte by byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge
from pipelines.demo.repository import lfs_pointer, publish
from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.core.progress import ProgressEvent
from steps.fetch import FetchInputs, FetchOutputs, pin, run, source_of
from tests.conftest import RecordedProgress
from tests.servers.gcs_server import GcsServer
from tests.servers.s3_server import S3Server
from tests.steps.model_trees import add_copies, model_tree, safetensors
from tests.steps.sources.running import fetch, left_in, local, taken

FILES = {"README.md", "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return model_tree(tmp_path / "tree")


def upload(context: Context, source: str | Path) -> FetchOutputs:
    return fetch(context, str(source), source_kind="upload")


def refused(context: Context, source: str | Path) -> SlipwayError:
    with pytest.raises(SlipwayError) as caught:
        upload(context, source)
    assert not [name for name in left_in(local(context).root) if name.startswith(("locks/", "receipts/", "tmp/"))]
    return caught.value


def test_a_folder_equals_its_repository(context: Context, tree: Path, forge: Forge) -> None:
    add_copies(tree)
    publish(forge.root, "bert", tree)
    shutil.copytree(forge.root, tree / ".git")
    folder, address, cloned = upload(context, tree), upload(context, f"file://{tree}"), fetch(context, forge.url("bert"))
    assert folder.set_digest == address.set_digest == cloned.set_digest
    assert folder.revision == ""
    assert taken(context, folder) == {name: (tree / name).read_bytes() for name in FILES}


def test_a_folder_may_have_a_relative_path(context: Context, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    assert upload(context, "tree").files == 5


def test_what_is_in_the_store_is_a_copy(context: Context, tree: Path) -> None:
    outputs = upload(context, tree)
    before = taken(context, outputs)
    for path in tree.iterdir():
        path.write_bytes(b"overwritten")
    assert taken(context, outputs) == before


def test_only_a_changed_folder_is_read_again(context: Context, tree: Path, progress: RecordedProgress) -> None:
    first = upload(context, tree)
    progress.events.clear()
    assert upload(context, tree) == first
    assert progress.events == []
    (tree / "model.safetensors").write_bytes(safetensors({"weight": b"other weights"}))
    second = upload(context, tree)
    assert second.set_digest != first.set_digest
    os.utime(tree / "README.md", ns=(1, 1))
    progress.events.clear()
    assert upload(context, tree) == second  # read again, and found equal
    assert progress.events != []


def test_a_pin_holds_until_the_files_are_read(context: Context, tree: Path) -> None:
    pinned = pin(FetchInputs(source_kind="upload", source=str(tree)), context)
    (tree / "README.md").write_text("# Changed between the two\n")
    with pytest.raises(SlipwayError, match="changed while it was being read") as caught:
        run(pinned, context)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize("how", ["longer", "as long as before", "deleted", "a link now"])
def test_a_file_that_changes_meanwhile_is_noticed(context: Context, tree: Path, progress: RecordedProgress, how: str) -> None:
    weights = tree / "model.safetensors"
    size = weights.stat().st_size

    def change(event: ProgressEvent) -> None:
        if event.kind != "progress":
            return
        if how in ("longer", "as long as before"):
            weights.write_bytes(safetensors({"weight": b"x"}).ljust(size + (how == "longer"), b"x"))
            os.utime(weights, ns=(1, 1))  # a coarse clock might not show it
        elif weights.is_file():
            weights.rename(tree.parent / "elsewhere")
            if how == "a link now":
                weights.symlink_to(tree.parent / "elsewhere")

    progress.then = change
    failure = refused(context, tree)
    assert "model.safetensors" in failure.message
    assert failure.reason in (Reason.DIGEST_MISMATCH, Reason.STORE_UNREADABLE)


def test_links_and_special_files_are_not_followed(context: Context, tree: Path) -> None:
    (tree / "link.bin").symlink_to("/dev/zero")  # nobody asks for it
    (tree / "loop").symlink_to(".")
    assert upload(context, tree).files == 5
    (tree / "LICENSE").symlink_to("README.md")  # a page, which no model needs
    assert upload(context, tree).files == 5
    (tree / "vocab.txt").symlink_to("README.md")
    failure = refused_anew(context, tree)
    assert (failure.reason, failure.message) == (
        Reason.UNSAFE_PATH,
        "vocab.txt is a symbolic link, and links are not followed.",
    )
    assert "hf download" in failure.hint
    (tree / "vocab.txt").unlink()
    os.mkfifo(tree / "vocab.txt")
    failure = refused_anew(context, tree)
    assert (failure.reason, failure.message) == (Reason.UNSAFE_PATH, "vocab.txt is not a regular file.")


def refused_anew(context: Context, tree: Path) -> SlipwayError:
    shutil.rmtree(local(context).root, ignore_errors=True)
    return refused(context, tree)


@pytest.fixture
def snapshot(tmp_path: Path, tree: Path) -> Path:
    """The tree as the Hugging Face cache has it: a revision full of links to blobs."""
    home = tmp_path / "models--team--bert"
    made = home / "snapshots" / ("0" * 40)
    (made / "1_Pooling").mkdir(parents=True)
    (home / "blobs").mkdir()
    for number, path in enumerate(sorted(tree.iterdir())):
        shutil.copyfile(path, home / "blobs" / f"{number:040}")
        (made / path.name).symlink_to(f"../../blobs/{number:040}")
    (home / "blobs" / "pooling").write_text("{}")
    (made / "1_Pooling" / "config.json").symlink_to("../../../blobs/pooling")
    return made


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_snapshot_of_the_cache_is_read(context: Context, tree: Path, snapshot: Path, through_a_link: bool) -> None:
    source = snapshot
    if through_a_link:
        source = tree.parent / "model"
        source.symlink_to(snapshot)
    outputs = fetch(context, str(source), source_kind="upload", include=("1_Pooling/*",))
    expected = {name: (tree / name).read_bytes() for name in FILES}
    assert taken(context, outputs) == {**expected, "1_Pooling/config.json": b"{}"}


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "target", ["/etc/hostname", "../../../tree/vocab.txt", "../../blobs/none", "../../blobs/other", "config.json"]
)
def test_other_links_of_the_cache_are_not_followed(context: Context, snapshot: Path, tree: Path, target: str) -> None:
    (tree / "vocab.txt").write_text("a secret")
    (snapshot.parents[1] / "blobs" / "other").symlink_to("/etc/hostname")
    (snapshot / "vocab.txt").symlink_to(target)
    failure = refused(context, snapshot)
    assert (failure.reason, failure.message.split(",")[0]) == (Reason.UNSAFE_PATH, "vocab.txt is a symbolic link")


@pytest.mark.fault("refused")
def test_a_model_of_the_cache_needs_its_revision(context: Context, snapshot: Path) -> None:
    failure = refused(context, snapshot.parents[1])
    assert (failure.reason, str(snapshot) in failure.hint) == (Reason.INVALID_SOURCE, True)
    assert str(snapshot.parents[1]) in failure.message


@pytest.mark.fault("refused")
@pytest.mark.parametrize("names", [["model.safetensors"], ["tokenizer.json", "model.safetensors"]])
def test_pointers_in_place_of_files_are_named(context: Context, tree: Path, names: list[str]) -> None:
    for name in names:
        (tree / name).write_bytes(lfs_pointer("0" * 64, 5_000_000))
    failure = refused(context, tree)
    assert failure.reason is Reason.NOT_LFS
    assert failure.message.startswith("model.safetensors")
    assert "pointers of Git LFS" in failure.message
    assert "git lfs pull" in failure.hint


@pytest.mark.fault("refused")
def test_a_folder_without_bottom_is_refused(context: Context, tree: Path) -> None:
    deep = tree
    for _ in range(60):
        deep = deep / "d"
    deep.mkdir(parents=True)
    failure = refused(context, tree)
    assert (failure.reason, str(tree) in failure.message) == (Reason.TOO_LARGE, True)


ODD_NAMES = ["my notes.txt", "README_中文.md", ".eval.json", "-n.txt", "a'b\".md", "a\nb.txt", "x" * 250 + ".txt",
             "\u00e9.txt", "e\u0301.txt", "Config.json", "readme.md", "$(id).txt", "a|b.md", "CON .txt"]  # fmt: skip


@pytest.mark.fault("accepted")
def test_odd_names_are_left_with_a_reason(context: Context, tree: Path) -> None:
    for name in ODD_NAMES:
        (tree / name).write_text("{}")
    inputs = FetchInputs(source_kind="upload", source=str(tree))
    with source_of(inputs, context) as source:
        choice = source.survey().choice
    assert {file.path for file in choice.files} == FILES
    assert len(choice.left) == len(ODD_NAMES)
    assert {why for _, why in choice.left} == {
        "its name has more than Latin letters, digits and . _ + @ = - within",
        "its name begins with a dot",
        "its name begins with a dash",
        "its name has more than 240 characters",
        "differs only in case from config.json",
        "differs only in case from README.md",
    }
    assert upload(context, tree).files == len(FILES)


def test_undecodable_names_are_not_taken(context: Context, tree: Path) -> None:
    (tree / os.fsdecode(b"\xff.bin")).write_bytes(b"x")
    assert upload(context, tree).left_files == 1
    (tree / os.fsdecode(b"\xff.txt")).write_bytes(b"x")
    assert upload(context, tree).left_files == 2
    with pytest.raises(SlipwayError, match=r"xff\.txt' cannot be taken") as caught:
        fetch(context, str(tree), source_kind="upload", include=("*.txt",))
    assert caught.value.reason is Reason.UNSAFE_PATH


def test_the_gate_stands_before_uploads_too(context: Context, tree: Path) -> None:
    (tree / "model.safetensors").write_bytes(safetensors({"weight": b"abc"})[:-1])
    failure = refused(context, tree)
    assert failure.reason is Reason.INVALID_WEIGHTS


@dataclass
class Bucket:
    """A bucket ``models`` at one of the providers, named as users name it."""

    scheme: str
    server: GcsServer | S3Server

    def store(self, name: str, data: bytes) -> None:
        self.server.store("models", name, data)

    def __truediv__(self, path: str) -> str:
        return f"{self.scheme}://{path}"


@pytest.fixture(params=["gs", "s3"])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tree: Path) -> Iterator[Bucket]:
    """The tree under ``models/team/bert``, and a neighbour."""
    with GcsServer("models") if request.param == "gs" else S3Server("models") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        made = Bucket(request.param, server)
        for path in tree.iterdir():
            made.store(f"team/bert/{path.name}", path.read_bytes())
        made.store("team/bertha/model.safetensors", b"a neighbour's")
        yield made


@pytest.mark.slow
def test_a_bucket_prefix_equals_its_folder(context: Context, tree: Path, bucket: Bucket) -> None:
    there, here = upload(context, bucket / "models/team/bert"), upload(context, tree)
    assert there.set_digest == here.set_digest
    assert taken(context, there) == {name: (tree / name).read_bytes() for name in FILES}


@pytest.mark.slow
def test_a_new_object_version_changes_the_pin(context: Context, bucket: Bucket) -> None:
    first = upload(context, bucket / "models/team/bert/")
    assert upload(context, bucket / "models/team/bert/") == first
    bucket.store("team/bert/README.md", b"# Better words\n")
    assert upload(context, bucket / "models/team/bert/").set_digest != first.set_digest


def test_an_object_replaced_meanwhile_is_noticed(context: Context, bucket: Bucket, progress: RecordedProgress) -> None:
    def replace(event: ProgressEvent) -> None:
        if event.kind == "progress" and event.done == 0:
            bucket.store("team/bert/model.safetensors", b"other")

    progress.then = replace
    failure = refused(context, bucket / "models/team/bert")
    assert (failure.reason, failure.message) == (
        Reason.DIGEST_MISMATCH,
        "model.safetensors changed while it was being read.",
    )


def test_an_empty_prefix_is_told(context: Context, bucket: Bucket) -> None:
    assert refused(context, bucket / "models/team/ber").reason is Reason.SOURCE_NOT_FOUND
    assert refused(context, bucket / "nothing/team").reason is Reason.STORE_UNREADABLE
