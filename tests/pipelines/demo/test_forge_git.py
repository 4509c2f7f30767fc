"""The forge's Git side against the real git client: clone, shallow fetch, protocol versions, and what it refuses."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import subprocess
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge
from pipelines.demo.repository import lfs_pointer, publish
from steps.core.digest import sha256_bytes

pytestmark = pytest.mark.slow  # they start processes or servers, many times

WEIGHTS = bytes(range(256)) * 64


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "onnx").mkdir(parents=True)
    (tree / "config.json").write_text("{}\n")
    (tree / "model.safetensors").write_bytes(WEIGHTS)
    (tree / "onnx" / "model.onnx").write_bytes(WEIGHTS[:100])
    return tree


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    (tmp_path / "forge").mkdir()
    with Forge(tmp_path / "forge") as forge:
        yield forge


def git(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    environment |= {"GIT_LFS_SKIP_SMUDGE": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    return subprocess.run(["git", *arguments], env=environment, capture_output=True, text=True, timeout=60)


def request(forge: Forge, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
    host, port = forge.url("x").removeprefix("http://").removesuffix("/x.git").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_git_clones_in_each_version_of_the_protocol(forge: Forge, tree: Path, tmp_path: Path, version: str) -> None:
    commit = publish(forge.root, "digits", tree)
    clone = tmp_path / "clone"
    done = git("-c", f"protocol.version={version}", "clone", forge.url("digits"), clone)
    assert done.returncode == 0, done.stderr
    assert git("-C", clone, "rev-parse", "HEAD").stdout.strip() == commit
    assert git("-C", clone, "symbolic-ref", "HEAD").stdout.strip() == "refs/heads/main"
    assert (clone / "model.safetensors").read_bytes() == lfs_pointer(sha256_bytes(WEIGHTS), len(WEIGHTS))
    assert (clone / "onnx" / "model.onnx").read_bytes() == lfs_pointer(sha256_bytes(WEIGHTS[:100]), 100)
    assert (clone / "config.json").read_text() == "{}\n"
    assert git("-C", clone, "check-attr", "filter", "model.safetensors").stdout.strip().endswith("filter: lfs")
    assert git("-C", clone, "fsck", "--strict").returncode == 0


@pytest.mark.parametrize("version", ["0", "2"])
def test_git_fetches_a_commit_without_a_branch(forge: Forge, tree: Path, tmp_path: Path, version: str) -> None:
    first = publish(forge.root, "digits", tree)
    (tree / "config.json").write_text('{"changed": true}\n')
    second = publish(forge.root, "digits", tree)
    clone = tmp_path / "clone"
    git("init", clone)
    fetch = ("-C", clone, "-c", f"protocol.version={version}", "fetch", "--depth=1", "--no-tags", forge.url("digits"))
    done = git(*fetch, first)
    assert done.returncode == 0, done.stderr
    assert git("-C", clone, "rev-list", "FETCH_HEAD").stdout.split() == [first]
    assert git("-C", clone, "show", "FETCH_HEAD:config.json").stdout == "{}\n"
    assert git(*fetch, second).returncode == 0
    assert git("-C", clone, "rev-list", "FETCH_HEAD").stdout.split() == [second]


def test_a_fetch_of_a_missing_commit_fails(forge: Forge, tree: Path, tmp_path: Path) -> None:
    publish(forge.root, "digits", tree)
    git("init", tmp_path / "clone")
    done = git("-C", tmp_path / "clone", "fetch", forge.url("digits"), "1" * 40)
    assert done.returncode == 128
    assert "not our ref" in done.stderr


def test_a_partial_clone_leaves_the_blobs_for_later(forge: Forge, tree: Path, tmp_path: Path) -> None:
    publish(forge.root, "digits", tree)
    done = git("clone", "--bare", "--filter=blob:none", forge.url("digits"), tmp_path / "clone")
    assert done.returncode == 0, done.stderr
    assert "blob" not in git("-C", tmp_path / "clone", "cat-file", "--batch-all-objects", "--batch-check").stdout


def test_a_request_that_git_has_compressed_is_unpacked(forge: Forge, tree: Path) -> None:
    publish(forge.root, "digits", tree)
    question = b"0014command=ls-refs\n0016agent=slipway-test0000"
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    packed = packer.compress(question) + packer.flush()
    path = "/digits.git/git-upload-pack"
    plain = request(forge, "POST", path, question, Git_Protocol="version=2")
    assert plain[0] == 200
    assert b"refs/heads/main" in plain[1]
    assert request(forge, "POST", path, packed, Git_Protocol="version=2", Content_Encoding="gzip") == plain
    assert request(forge, "POST", path, packed[:-9], Content_Encoding="gzip")[0] == 400
    assert request(forge, "POST", path, b"plain", Content_Encoding="gzip")[0] == 400
    assert request(forge, "POST", path, packed, Content_Encoding="br")[0] == 415


def test_a_body_needs_a_sane_length(forge: Forge, tree: Path) -> None:
    publish(forge.root, "digits", tree)
    assert request(forge, "POST", "/digits.git/git-upload-pack", Transfer_Encoding="chunked")[0] == 411
    assert request(forge, "POST", "/digits.git/git-upload-pack", Content_Length=str(1 << 40))[0] == 413


def test_nothing_can_be_pushed(forge: Forge, tree: Path, tmp_path: Path) -> None:
    commit = publish(forge.root, "digits", tree)
    git("clone", forge.url("digits"), tmp_path / "clone")
    assert "403" in git("-C", tmp_path / "clone", "push", "origin", "HEAD:refs/heads/other").stderr
    assert request(forge, "POST", "/digits.git/git-receive-pack", b"0000")[0] == 404
    assert git("ls-remote", forge.url("digits")).stdout.split("\n")[:-1] == [f"{commit}\tHEAD", f"{commit}\trefs/heads/main"]


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.git/info/refs?service=git-upload-pack",
        "/%2e%2e/secret.git/info/refs?service=git-upload-pack",
        "/..%2fsecret.git/info/refs?service=git-upload-pack",
        "/digits.git/../../secret.git/info/refs?service=git-upload-pack",
        "//secret.git/info/refs?service=git-upload-pack",
        "/--upload-pack=x.git/info/refs?service=git-upload-pack",
        "/digits.git/config",
        "/digits.git/HEAD",
        "/digits.git/objects/info/packs",
        "/digits.git/lfs/objects/../../config",
        "/digits.git/lfs/objects/" + "A" * 64,
        "/nothing.git/info/refs?service=git-upload-pack",
        "/",
    ],
)
def test_a_path_outside_the_root_is_not_found(forge: Forge, tree: Path, path: str) -> None:
    publish(forge.root, "digits", tree)
    publish(forge.root.parent, "secret", tree)
    assert request(forge, "GET", path)[0] == 404


def test_the_dumb_protocol_and_wrong_methods_are_refused(forge: Forge, tree: Path) -> None:
    publish(forge.root, "digits", tree)
    assert request(forge, "GET", "/digits.git/info/refs")[0] == 403
    assert request(forge, "GET", "/digits.git/info/refs?service=git-receive-pack")[0] == 403
    assert request(forge, "GET", "/digits.git/git-upload-pack")[0] == 405
    assert request(forge, "POST", "/digits.git/info/refs?service=git-upload-pack", b"")[0] == 405
    assert request(forge, "PUT", "/digits.git/info/refs")[0] == 501


def test_closing_the_forge_ends_every_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with Forge(tmp_path) as forge:
        host, port = forge.url("x").removeprefix("http://").removesuffix("/x.git").split(":")
        idle = socket.create_connection((host, int(port)), timeout=30)
        idle.sendall(b"GET / HTTP/1.1\r\nHost: forge\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 404"
    rest = b""
    while chunk := idle.recv(4096):
        rest += chunk
    assert rest.endswith(b'There is no such repository here."}')
    idle.close()
    assert set(threading.enumerate()) == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=30)


def test_the_forge_is_silent(
    forge: Forge, tree: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    publish(forge.root, "digits", tree)
    assert git("ls-remote", forge.url("digits")).returncode == 0
    assert request(forge, "GET", "/nothing")[0] == 404
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
