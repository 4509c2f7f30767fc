"""What a repository or its server may ask of fetch: names, trees, sizes, memory; and what it must not be asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import GIT_ENVIRONMENT, lfs_pointer, publish, tip
from steps.core.contract import Context
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.fetch import FetchInputs, source_of
from steps.sources.base import Survey
from tests.scorecard import Scorecard
from tests.servers.forge_faults import Fault
from tests.steps.model_trees import model_tree, noise
from tests.steps.sources.running import fetch, run_process, taken

pytestmark = pytest.mark.slow  # they run git, many times


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return model_tree(tmp_path / "tree")


def git(repository: Path, *arguments: str, stdin: bytes = b"") -> str:
    command = ["git", f"--git-dir={repository}", "-c", "user.name=x", "-c", "user.email=x@example.invalid", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, env=dict(GIT_ENVIRONMENT), check=True)
    return done.stdout.decode().strip()


def commit_of(repository: Path, tree: str) -> None:
    git(repository, "update-ref", "refs/heads/main", git(repository, "commit-tree", "-m", "x", tree))


def survey(context: Context, source: str, **inputs: object) -> Survey:
    with source_of(FetchInputs.model_validate({"source_kind": "git_lfs", "source": source, **inputs}), context) as opened:
        return opened.survey()


def refused(context: Context, source: str) -> SlipwayError:
    with pytest.raises(SlipwayError) as caught:
        fetch(context, source)
    return caught.value


def moved(forge: Forge) -> int:
    return sum(exchange.sent for exchange in forge.exchanges)


class NoFilter(ForgeHandler):
    """A server that cannot filter."""

    def git_refs(self, name: str) -> Reply:
        reply = super().git_refs(name)
        body = re.sub(rb"[0-9a-f]{4}fetch=shallow[^\n]*\n", b"0012fetch=shallow\n", b"".join(reply.body))
        return replace(reply, headers={**reply.headers, "Content-Length": str(len(body))}, body=[body])


def test_what_is_not_taken_does_not_travel(context: Context, forge: Forge, tree: Path) -> None:
    (tree / "big.dat").write_bytes(noise(6_000_000))
    (tree / "vocab.txt").write_bytes(noise(50_000).hex().encode())
    publish(forge.root, "bert", tree)
    found = survey(context, forge.url("bert"))
    assert moved(forge) < 500_000
    sizes = {file.path: file.size for file in found.choice.files}
    assert sizes["vocab.txt"] == 100_000
    assert [(file.path, file.size_known) for file, _ in found.choice.left] == [(".gitattributes", True), ("big.dat", False)]
    assert taken(context, fetch(context, forge.url("bert")))["vocab.txt"] == (tree / "vocab.txt").read_bytes()


@pytest.mark.fault("accepted")
def test_a_server_without_filters_serves_too(context: Context, forge_root: Path, tree: Path) -> None:
    (tree / "big.dat").write_bytes(noise(2_000_000))
    (tree / "vocab.txt").write_bytes(noise(50_000).hex().encode())
    publish(forge_root, "bert", tree)
    with Forge(forge_root, handler=NoFilter) as forge:
        found = survey(context, forge.url("bert"))
        assert moved(forge) > 2_000_000
        assert {file.path: file.size for file, _ in found.choice.left}["big.dat"] == 2_000_000
        assert taken(context, fetch(context, forge.url("bert")))["vocab.txt"] == (tree / "vocab.txt").read_bytes()


def error_line(message: bytes) -> Reply:
    """A pkt-line that says what is wrong (gitprotocol-pack(5))."""
    return Reply(200, {"Content-Type": "application/x-git-upload-pack-result"}, [b"%04x" % (len(message) + 4) + message])


class OnlyCommits(ForgeHandler):
    """A server that filters and refuses to give out a file by its id."""

    def git_upload_pack(self, name: str, body: bytes) -> Reply:
        if b"blob:none" in body:
            message = b"ERR upload-pack: not our ref 0123"
            return Reply(
                200, {"Content-Type": "application/x-git-upload-pack-result"}, [b"%04x" % (len(message) + 4) + message]
            )
        return super().git_upload_pack(name, body)


@pytest.mark.fault("accepted")
def test_a_server_that_gives_out_commits_alone_serves(context: Context, forge_root: Path, tree: Path) -> None:
    (tree / "vocab.txt").write_bytes(noise(50_000).hex().encode())
    publish(forge_root, "bert", tree)
    with Forge(forge_root, handler=OnlyCommits) as forge:
        assert taken(context, fetch(context, forge.url("bert")))["vocab.txt"] == (tree / "vocab.txt").read_bytes()


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("revision", ["", "main", "HEAD of it"])
def test_a_sha256_repository_is_fetched(context: Context, forge: Forge, tree: Path, revision: str) -> None:
    (tree / "vocab.txt").write_bytes(noise(50_000).hex().encode())
    publish(forge.root, "one", tree)
    two = forge.root / "two.git"
    git(two, "init", "--quiet", "--bare", "--object-format=sha256", "--initial-branch=main", str(two))
    work = ["--work-tree", str(tree)]
    weights = tree / "model.safetensors"
    content = weights.read_bytes()
    pointer = (forge.root / "one.git" / "lfs").rename(two / "lfs")
    oid = next(path.name for path in pointer.rglob("*") if path.is_file())
    weights.write_bytes(lfs_pointer(oid, len(content)))
    git(two, *work, "add", ".")
    git(two, *work, "commit", "--quiet", "-m", "x")
    commit = git(two, "rev-parse", "HEAD")
    outputs = fetch(context, forge.url("two"), revision=commit if revision == "HEAD of it" else revision)
    assert (outputs.revision, len(commit)) == (commit, 64)
    files = taken(context, outputs)
    assert files["model.safetensors"] == content
    assert files["vocab.txt"] == (tree / "vocab.txt").read_bytes()


@pytest.mark.fault("refused")
def test_a_tree_that_multiplies_is_refused(context: Context, forge: Forge, tree: Path) -> None:
    publish(forge.root, "bert", tree)
    repository = forge.root / "bert.git"
    node, kind = git(repository, "hash-object", "-w", "--stdin", stdin=b"x"), "100644 blob"
    for _ in range(6):
        listing = "".join(f"{kind} {node}\t{number}.txt\n" for number in range(10))
        node, kind = git(repository, "mktree", stdin=listing.encode()), "040000 tree"
    commit_of(repository, node)
    failure = refused(context, forge.url("bert"))
    assert (failure.reason, "more than 100000 files" in failure.message) == (Reason.TOO_LARGE, True)


@pytest.mark.fault("refused")
def test_a_tree_without_bottom_is_refused(tmp_path: Path, forge: Forge, tree: Path) -> None:
    publish(forge.root, "bert", tree)
    repository = forge.root / "bert.git"
    node, kind = git(repository, "hash-object", "-w", "--stdin", stdin=b"x"), "100644 blob"
    for _ in range(400):
        node, kind = git(repository, "mktree", stdin=f"{kind} {node}\t{'d' * 200}\n".encode()), "040000 tree"
    commit_of(repository, node)
    done = run_process(forge.url("bert"), tmp_path / "store")
    assert done.returncode == ExitCode.RESOURCES, done.stderr
    assert "TooLarge" in done.stderr


@pytest.mark.fault("accepted")
def test_a_broken_pointer_nobody_takes_is_harmless(context: Context, forge: Forge, tree: Path) -> None:
    (tree / "docs").mkdir()
    pointer = lfs_pointer("0" * 64, 5).replace(b"oid", b"ext-0-foo sha256:" + b"1" * 64 + b"\noid")
    (tree / "docs" / "picture.png").write_bytes(pointer)
    (tree / "picture.json").write_bytes(pointer)
    publish(forge.root, "bert", tree)
    with pytest.raises(SlipwayError, match=r"picture\.json is a Git LFS pointer that does not follow") as caught:
        fetch(context, forge.url("bert"))
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
    assert fetch(context, forge.url("bert"), exclude=("picture.json",)).files == 5


@pytest.mark.fault("accepted")
def test_odd_names_in_a_repository_are_left(context: Context, forge: Forge, tree: Path) -> None:
    names = [
        "my notes.txt",
        "README_中文.md",
        ".eval.json",
        "a\nb.txt",
        "\u00e9.txt",
        "e\u0301.txt",
        "x" * 250 + ".txt",
        "readme.md",
    ]
    for name in names:
        (tree / name).write_text("{}")
    publish(forge.root, "bert", tree)
    choice = survey(context, forge.url("bert")).choice
    assert len(choice.left) == len(names) + 1  # with .gitattributes
    assert fetch(context, forge.url("bert")).files == 5


class EndlessRefs(Fault):
    """Lists names for ever."""

    def git_upload_pack(self, name: str, body: bytes) -> Reply:
        if b"command=ls-refs" in body:
            return Reply(200, {"Content-Type": "application/x-git-upload-pack-result"}, self._names())
        return super().git_upload_pack(name, body)

    def _names(self) -> Iterator[bytes]:
        number = 0
        while True:
            lines = [b"%040x refs/heads/%01000d\n" % (number + n, number + n) for n in range(1000)]
            yield b"".join(b"%04x" % (len(line) + 4) + line for line in lines)
            number += 1000


@pytest.mark.fault("refused")
def test_endless_names_end_as_too_large(tmp_path: Path, forge_root: Path, tree: Path) -> None:
    publish(forge_root, "bert", tree)
    with Forge(forge_root, handler=EndlessRefs) as forge:
        done = run_process(forge.url("bert"), tmp_path / "store")
    assert done.returncode == ExitCode.RESOURCES, done.stderr
    assert "error: TooLarge" in done.stderr


def many_refs(repository: Path, count: int) -> None:
    commit = git(repository, "rev-parse", "main")
    lines = "".join(f"{commit} refs/heads/branch-{number:07}\n" for number in range(count))
    (repository / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n" + lines)


@pytest.mark.fault("accepted")
def test_many_branches_are_no_obstacle(context: Context, forge: Forge, tree: Path) -> None:
    commit = publish(forge.root, "bert", tree)
    many_refs(forge.root / "bert.git", 20_000)
    assert fetch(context, forge.url("bert"), revision="branch-0019999").revision == commit
    with pytest.raises(SlipwayError, match="Did you mean 'branch-0000") as caught:
        fetch(context, forge.url("bert"), revision="branch-000001")
    assert caught.value.reason is Reason.REVISION_NOT_FOUND


class MovesMeanwhile(Fault):
    """Forgets the commit between the list of names and the request for it, as after a push by force."""

    message = b"ERR upload-pack: not our ref"

    def git_upload_pack(self, name: str, body: bytes) -> Reply:
        if b"command=fetch" in body:
            return error_line(self.message + b" " + (tip(self.server.root, name) or "").encode())
        return super().git_upload_pack(name, body)


@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    "message", [b"ERR upload-pack: not our ref", b"ERR Server does not allow request for unadvertised object"]
)
def test_a_push_by_force_meanwhile_is_transient(context: Context, forge_root: Path, tree: Path, message: bytes) -> None:
    commit = publish(forge_root, "bert", tree)
    with Forge(forge_root, handler=MovesMeanwhile.having(message=message)) as forge:
        for revision, name in (("main", "'main'"), ("", "the default branch")):
            with pytest.raises(SlipwayError) as caught:
                fetch(context, forge.url("bert"), revision=revision)
            assert caught.value.reason.exit_code is ExitCode.TRANSIENT
            assert f"{name} of {forge.url('bert')} was moved while it was being fetched" in caught.value.message
            assert commit in caught.value.message
        context.pins.clear()
        with pytest.raises(SlipwayError, match=commit) as caught:
            fetch(context, forge.url("bert"), revision=commit)
        assert caught.value.reason is Reason.REVISION_NOT_FOUND


def real_tokenizer() -> bytes:
    """As large as Gemma's."""
    vocab = {f"\u2581w{number:06}": number for number in range(262_144)}
    merges = [[f"\u2581w{number:06}", "ing"] for number in range(514_906)]
    return json.dumps({"model": {"vocab": vocab, "merges": merges}}, ensure_ascii=False, indent=2).encode()


LARGE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "lists": ("vocab.json", lambda: b"[" + b"[]," * 16_000_000 + b"[]]", "TooLarge"),
    "a tokenizer of lists": ("tokenizer.json", lambda: b'{"a":[' + b"[]," * 8_000_000 + b"[]]}", "TooLarge"),
    "an index": (
        "model.safetensors.index.json",
        lambda: b'{"weight_map":{' + b",".join(b'"t%d":"m"' % n for n in range(2_000_000)) + b"}}",
        "TooLarge",
    ),
    "a long text": ("vocab.txt", lambda: b"word\n" * 20_000_000, ""),
    "a long card": ("README.md", lambda: b"# A model\n" * 15_000_000, ""),
    "a real tokenizer": ("tokenizer.json", real_tokenizer, ""),
    "many texts": ("", lambda: b"", ""),
}


@pytest.mark.hard
@pytest.mark.fault("survived")
@pytest.mark.parametrize("case", LARGE)
@pytest.mark.parametrize("in_lfs", [False, True])
def test_fetch_stays_in_its_memory(
    tmp_path: Path, forge: Forge, tree: Path, case: str, in_lfs: bool, scorecard: Scorecard
) -> None:
    name, make, reason = LARGE[case]
    if name:
        (tree / name).write_bytes(make())
        if name.endswith(".index.json"):
            (tree / "model.safetensors").rename(tree / "model-00001-of-00001.safetensors")
    else:
        for number in range(2000):
            (tree / f"{number}.txt").write_bytes(noise(20_000, number).hex().encode())
    publish(forge.root, "bert", tree, lfs=("*.safetensors", name) if in_lfs and name else ("*.safetensors",))
    command = [sys.executable, "-m", "steps.fetch", "--source-kind=git_lfs", f"--source={forge.url('bert')}"]
    done = scorecard.run("fetch", [*command, f"--store={tmp_path}/store"], timeout=500)
    assert (f"error: {reason}" in done.stderr) if reason else done.returncode == 0, done.stderr
    assert done.peak <= 256 << 20, done.stderr


def test_outputs_count_what_was_taken(context: Context, forge: Forge, tree: Path) -> None:
    (tree / "vocab.txt").write_bytes(noise(5_000).hex().encode())
    publish(forge.root, "bert", tree)
    outputs = fetch(context, forge.url("bert"))
    assert outputs.bytes == sum(path.stat().st_size for path in tree.iterdir())
