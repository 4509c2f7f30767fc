"""Each way a fetch can fail, as a person meets it: ``python -m steps.fetch`` ends with the reason's exit code, one line that
says what is wrong and where, one line that says what to do, no traceback, and nothing published.
"""

from __future__ import annotations

import json
import pickle
import re
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import GIT_ENVIRONMENT, LFS_PATTERNS, publish
from steps.command.process import run_to_exit_code
from steps.core.contract import Context
from steps.core.errors import REASONS, Reason
from steps.core.receipts import execute
from steps.fetch import STEP, FetchInputs
from tests.conftest import FakeClock
from tests.servers.forge_faults import MissingObjects, NoLfs, WrongBytes, batch_requests, object_requests
from tests.steps.model_trees import add_copies, model_tree, noise, safetensors, shard, write_json
from tests.steps.sources.running import left_in, local, run_process

pytestmark = [pytest.mark.slow, pytest.mark.fault("refused")]

R = Reason


def nothing(tree: Path) -> None:
    """The tree as it is."""


@dataclass
class Scene:
    """A repository made from ``model_tree`` and ``change``, served by ``handler``, fetched with ``flags``; and what is said."""

    reason: Reason
    says: list[str]
    hint: str = ""
    change: Callable[[Path], Any] = nothing
    flags: list[str] = field(default_factory=list)
    handler: type[ForgeHandler] = ForgeHandler
    lfs: tuple[str, ...] = LFS_PATTERNS
    objects: bool = False  # whether objects are asked for before the failure shows


def edit(name: str, **keys: Any) -> Callable[[Path], None]:
    def change(tree: Path) -> None:
        write_json(tree / name, {**json.loads((tree / name).read_text()), **keys})

    return change


def write(name: str, content: bytes | str) -> Callable[[Path], None]:
    def change(tree: Path) -> None:
        (tree / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def only_copies(tree: Path) -> None:
    add_copies(tree)
    (tree / "model.safetensors").unlink()


def escaping_index(tree: Path) -> None:
    first, _ = shard(tree)
    write_json(tree / "model.safetensors.index.json", {"weight_map": {"a": first, "b": "../../etc/model.safetensors"}})


def lost_shard(tree: Path) -> None:
    (tree / shard(tree)[1]).unlink()


class NeedsLogin(ForgeHandler):
    def git_refs(self, name: str) -> Reply:
        return Reply(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="x"', "Content-Length": "0"})


class ObjectsNeedLogin(ForgeHandler):
    def lfs_batch(self, name: str, body: bytes) -> Reply:
        return Reply(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": 'Basic realm="x"', "Content-Length": "0"})


class NoPosts(ForgeHandler):
    def lfs_batch(self, name: str, body: bytes) -> Reply:
        return Reply(HTTPStatus.METHOD_NOT_ALLOWED, {"Content-Length": "0"})


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"
PICKLE = pickle.dumps({"a": 1})

SCENES = {
    "a branch that is not there": Scene(
        R.REVISION_NOT_FOUND, ["'mian'", "Did you mean 'main'?"], "It has: main.", flags=["--revision=mian"]
    ),
    "a commit that is not there": Scene(
        R.REVISION_NOT_FOUND, ["has no such commit", "f" * 40], "full commit id", flags=[f"--revision={'f' * 40}"]
    ),
    "a short commit": Scene(
        R.REVISION_NOT_FOUND, ["no branch or tag 'abc1234'"], "full id of 40 or 64 digits", flags=["--revision=abc1234"]
    ),
    "a commit in upper case": Scene(
        R.REVISION_NOT_FOUND, ["no branch or tag 'FFFF"], "in lower case", flags=[f"--revision={'F' * 40}"]
    ),
    "a revision like an option": Scene(
        R.REVISION_NOT_FOUND, ["'--upload-pack=x'", "cannot be the name"], flags=["--revision=--upload-pack=x"]
    ),
    "no Git LFS server": Scene(R.LFS_UNAVAILABLE, ["/bert.git/info/lfs"], "Enable Git LFS", handler=NoLfs),
    "a server that takes no POST": Scene(R.LFS_UNAVAILABLE, ["/bert.git/info/lfs"], handler=NoPosts),
    "weights in Git itself": Scene(
        R.NOT_LFS, ["model.safetensors", "does not keep it in Git LFS"], "git lfs migrate import", lfs=("*.bin",)
    ),
    "a pointer without its object": Scene(
        R.LFS_OBJECT_MISSING, ["model.safetensors"], "git lfs push --all", handler=MissingObjects
    ),
    "a pointer of an unknown shape": Scene(
        R.SOURCE_PROTOCOL,
        ["model.safetensors is a Git LFS pointer", "does not follow the specification"],
        "git-lfs",
        change=write("model.safetensors", POINTER.format(oid="XYZ", size=5)),
        lfs=(),
    ),
    "bytes with another hash": Scene(
        R.DIGEST_MISMATCH, ["model.safetensors", "sha256"], "push the object again", handler=WrongBytes, objects=True
    ),
    "a misspelt task": Scene(
        R.UNKNOWN_TASK,
        ["'text-clasification'", "Did you mean 'text-classification'?"],
        "image-classification",
        flags=["--services=text-clasification"],
    ),
    "an unsupported task": Scene(
        R.UNKNOWN_TASK, ["no task 'embroidery'"], "Slipway serves: ", flags=["--services=embroidery"]
    ),
    "a task that does not fit": Scene(
        R.TASK_MISMATCH,
        ["cannot do token-classification", "BertForSequenceClassification", "ForTokenClassification"],
        "It can do: text-classification, feature-extraction",
        flags=["--services=text-classification,token-classification"],
    ),
    "a task whose files are missing": Scene(
        R.TASK_MISMATCH,
        ["cannot do image-classification"],
        "It can do: feature-extraction",
        change=edit("config.json", architectures=["ViTModel"]),
        flags=["--services=image-classification"],
    ),
    "no safetensors": Scene(
        R.NO_SAFETENSORS,
        ["flax_model.msgpack (Flax)", "model.onnx (ONNX)", "pytorch_model.bin (PyTorch pickle)", "tf_model.h5 (TensorFlow"],
        "save_pretrained",
        change=only_copies,
    ),
    "no weights at all": Scene(
        R.NO_SAFETENSORS, ["no weight file at all"], change=lambda tree: (tree / "model.safetensors").unlink()
    ),
    "a login for Git": Scene(R.ACCESS_DENIED, ["/bert.git"], "public", handler=NeedsLogin),
    "a login for Git LFS": Scene(R.ACCESS_DENIED, ["401"], "public", handler=ObjectsNeedLogin),
    "code of its own in config.json": Scene(
        R.REMOTE_CODE,
        ["config.json", "auto_map"],
        "never run",
        change=edit("config.json", auto_map={"AutoModel": "modeling.Evil"}),
    ),
    "code of its own in another file": Scene(
        R.REMOTE_CODE, ["tokenizer_config.json", "auto_map"], change=edit("tokenizer_config.json", auto_map={"A": "t.Evil"})
    ),
    "a symbolic link among the files": Scene(
        R.UNSAFE_PATH,
        ["vocab.txt is a symbolic link"],
        "exclude",
        change=lambda tree: (tree / "vocab.txt").symlink_to("/etc/passwd"),
    ),
    "a name with a space that is asked for": Scene(
        R.UNSAFE_PATH,
        ["'notes of mine.txt' cannot be taken", "more than Latin letters"],
        "Rename the file",
        change=write("notes of mine.txt", "x"),
        flags=["--include=notes*"],
    ),
    "a name with a control sequence that is asked for": Scene(
        R.UNSAFE_PATH, ["\\\\x1b[2J.txt"], change=write("\x1b[2J.txt", "x"), flags=["--include=*.txt"]
    ),
    "a pickle that calls itself JSON": Scene(
        R.FORBIDDEN_FORMAT, ["vocab.json is a pickle"], "inert text", change=write("vocab.json", PICKLE)
    ),
    "a pickle that calls itself safetensors": Scene(
        R.INVALID_WEIGHTS,
        ["model.safetensors", "header"],
        "save_pretrained",
        change=write("model.safetensors", PICKLE),
        objects=True,
    ),
    "a zip that calls itself text": Scene(
        R.FORBIDDEN_FORMAT, ["merges.txt is a zip archive"], change=write("merges.txt", b"PK\x03\x04" + noise(50))
    ),
    "pickles that are asked for": Scene(
        R.FORBIDDEN_FORMAT, ["pytorch_model.bin", "PyTorch pickle"], change=add_copies, flags=["--include=*.bin"]
    ),
    "a shard index that leaves the folder": Scene(
        R.INVALID_WEIGHTS, ["model.safetensors.index.json", "'../../etc/model.safetensors'"], change=escaping_index
    ),
    "a shard that is not there": Scene(
        R.INVALID_WEIGHTS, ["model.safetensors.index.json", "model-00002-of-00002.safetensors"], change=lost_shard
    ),
    "weights with a tail": Scene(
        R.INVALID_WEIGHTS,
        ["model.safetensors", "fill 10 bytes of 11"],
        change=write("model.safetensors", safetensors({"weight": noise(10)}) + b"\0"),
        objects=True,
    ),
    "no config.json": Scene(
        R.INVALID_CONFIG, ["no config.json"], "save_pretrained", change=lambda tree: (tree / "config.json").unlink()
    ),
    "a config.json that is not JSON": Scene(R.INVALID_CONFIG, ["config.json is not JSON"], change=write("config.json", "{")),
    "a config.json without an architecture": Scene(
        R.INVALID_CONFIG, ["does not say which architecture"], change=write("config.json", "{}")
    ),
    "another content than expected": Scene(
        R.SET_DIGEST_UNEXPECTED, ["0" * 64], "expectedSetDigest", flags=[f"--expected-set-digest={'0' * 64}"], objects=True
    ),
}  # fmt: skip


def check(done: subprocess.CompletedProcess[str], reason: Reason, says: list[str], hint: str, store: Path) -> None:
    assert done.returncode == REASONS[reason].exit_code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    error, advice = done.stderr.splitlines()[-2:]
    assert error.startswith(f"error: {reason}: ")
    assert error.endswith((".", "?", ")"))
    for text in says:
        assert text in error
    assert re.match(r" hint: .{10,}\.?$", advice)
    assert hint in advice
    assert not [name for name in left_in(store) if name.startswith(("locks/", "receipts/", "tmp/"))]


@pytest.mark.parametrize("scene", [pytest.param(scene, id=name) for name, scene in SCENES.items()])
def test_a_failure_has_a_reason_and_a_hint(tmp_path: Path, forge_root: Path, scene: Scene) -> None:
    tree = model_tree(tmp_path / "tree")
    scene.change(tree)
    publish(forge_root, "bert", tree, lfs=scene.lfs)
    with Forge(forge_root, handler=scene.handler) as forge:
        done = run_process(forge.url("bert"), tmp_path / "store", *scene.flags)
        check(done, scene.reason, scene.says, scene.hint, tmp_path / "store")
        assert bool(object_requests(forge)) == scene.objects
        if not scene.objects and scene.reason is not R.ACCESS_DENIED and "Lfs" not in scene.reason:
            assert batch_requests(forge) == []


def git(root: Path, *arguments: str, source: str = "") -> str:
    argv = ["git", f"--git-dir={root / 'bert.git'}", "-c", "user.name=x", "-c", "user.email=x@example.invalid", *arguments]
    return subprocess.run(argv, input=source, capture_output=True, text=True, check=True, env=GIT_ENVIRONMENT).stdout.strip()


def with_submodule(root: Path, tree: Path, path: str) -> None:
    commit = publish(root, "bert", tree)
    listing = git(root, "ls-tree", "main") + f"\n160000 commit {commit}\t{path}\n"
    changed = git(root, "commit-tree", "-m", "With a submodule", git(root, "mktree", source=listing))
    git(root, "update-ref", "refs/heads/main", changed)


@pytest.mark.parametrize("path", ["vendor", "vendor.md"], ids=["beside the model", "among what would be taken"])
def test_a_submodule_is_refused_unless_it_is_excluded(tmp_path: Path, forge: Forge, path: str) -> None:
    with_submodule(forge.root, model_tree(tmp_path / "tree"), path)
    done = run_process(forge.url("bert"), tmp_path / "store")
    check(done, R.UNSAFE_PATH, [f"{path} is a submodule"], "exclude", tmp_path / "store")
    assert run_process(forge.url("bert"), tmp_path / "store", f"--exclude={path}").returncode == 0


def test_a_repository_that_is_not_there(tmp_path: Path, forge: Forge) -> None:
    done = run_process(forge.url("nothing"), tmp_path / "store")
    check(done, R.SOURCE_NOT_FOUND, [forge.url("nothing")], "Check the address", tmp_path / "store")


def test_a_repository_without_a_commit(tmp_path: Path, forge: Forge) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", forge.root / "empty.git"], check=True, env=GIT_ENVIRONMENT)
    done = run_process(forge.url("empty"), tmp_path / "store")
    check(done, R.REVISION_NOT_FOUND, [forge.url("empty"), "empty repository"], "Push", tmp_path / "store")


def test_a_repository_whose_default_branch_is_not_there(tmp_path: Path, forge: Forge) -> None:
    publish(forge.root, "bert", model_tree(tmp_path / "tree"))
    git(forge.root, "symbolic-ref", "HEAD", "refs/heads/gone")
    done = run_process(forge.url("bert"), tmp_path / "store")
    check(done, R.REVISION_NOT_FOUND, ["no default branch"], "It has: main.", tmp_path / "store")


@pytest.mark.parametrize(
    "source",
    [
        "ext::sh -c touch% /tmp/x",
        "git@127.0.0.1:x/y.git",
        "-uroot",
        "https://example.invalid/x\nfatal: y",
        "http://example.invalid/x/y",
    ],
)
def test_a_bad_address_is_refused_before_contact(tmp_path: Path, source: str) -> None:
    done = run_process(source, tmp_path / "store")
    check(done, R.INVALID_SOURCE, [], "https://", tmp_path / "store")


@pytest.mark.parametrize("source", ["ssh://pa55word@127.0.0.1/x/y", "https://user:pa55word@example.invalid/x/y"])
def test_an_address_with_a_user_is_refused(tmp_path: Path, source: str) -> None:
    done = run_process(source, tmp_path / "store")
    check(done, R.INVALID_INPUT, ["--source", "has a user name or a password"], "", tmp_path / "store")
    assert "pa55word" not in done.stderr


def test_a_misspelt_task_is_refused_before_contact(tmp_path: Path, forge: Forge) -> None:
    done = run_process(forge.url("bert"), tmp_path / "store", "--services=ner,sentiment-analisys")
    check(done, R.UNKNOWN_TASK, ["Did you mean 'sentiment-analysis'?"], "", tmp_path / "store")
    assert forge.exchanges == []


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "no-such-host.invalid"])
def test_an_unreachable_network_is_transient(
    context: Context, capsys: pytest.CaptureFixture[str], clock: FakeClock, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("SLIPWAY_HTTP_HOSTS", "no-such-host.invalid")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = host.format(port=free.getsockname()[1])  # nobody listens there
        inputs = FetchInputs(source_kind="git_lfs", source=f"http://{host}/x/y")
        assert run_to_exit_code(lambda: bool(execute(STEP, inputs, context))) == 75
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    error, hint = stderr.splitlines()
    assert error.startswith(f"error: NetworkUnreachable: http://{host}/x/y")
    assert hint == " hint: Check the network and the address, then run again."
    assert len(clock.slept) >= 4
    assert left_in(local(context).root) == []


def test_a_machine_without_git_gets_a_hint(tmp_path: Path, forge: Forge) -> None:
    (tmp_path / "bin").mkdir()
    done = run_process(forge.url("bert"), tmp_path / "store", env={"PATH": str(tmp_path / "bin")})
    check(done, R.MISSING_DEPENDENCY, ["git is not installed"], "Install git", tmp_path / "store")


def test_a_store_that_cannot_be_is_told(tmp_path: Path, forge: Forge) -> None:
    publish(forge.root, "bert", model_tree(tmp_path / "tree"))
    (tmp_path / "file").write_text("")
    done = run_process(forge.url("bert"), tmp_path / "file" / "store")
    check(done, R.INVALID_INPUT, [str(tmp_path / "file" / "store")], "Name a folder", tmp_path / "file")


@pytest.mark.parametrize(
    ("source", "reason", "says"),
    [
        ("{tmp}/nothing", R.SOURCE_NOT_FOUND, "There is no folder "),
        ("https://example.invalid/x", R.INVALID_SOURCE, "is neither a folder nor a bucket prefix"),
        ("file://relative/folder", R.INVALID_SOURCE, "is neither a folder nor a bucket prefix"),
    ],
)
def test_an_upload_that_is_not_there(tmp_path: Path, source: str, reason: Reason, says: str) -> None:
    done = run_process(source.format(tmp=tmp_path), tmp_path / "store", kind="upload")
    check(done, reason, [says], "", tmp_path / "store")
