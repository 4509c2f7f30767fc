"""What a repository, or the settings of whoever runs Slipway, could make Git or Git LFS do, and does not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import GIT_ENVIRONMENT, lfs_pointer, publish
from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.errors import ExitCode, Reason, SlipwayError
from tests.servers.forge_faults import batch_requests, object_requests
from tests.steps.model_trees import model_tree, noise, safetensors
from tests.steps.sources.running import fetch, outputs_of, run_process, taken

pytestmark = [pytest.mark.slow, pytest.mark.fault("refused")]  # they start processes or servers, many times


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return model_tree(tmp_path / "tree")


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Forge]:
    """A second server that nobody should ever talk to."""
    with Forge(tmp_path / "trap") as trap:
        yield trap
        assert trap.exchanges == []


@pytest.fixture
def touch(tmp_path: Path) -> Iterator[Path]:
    """A program that leaves a mark when it is run, whatever its arguments."""
    program = tmp_path / "touch.sh"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/touched\nexit 1\n')
    program.chmod(0o755)
    yield program
    assert not (tmp_path / "touched").exists()


@pytest.fixture
def logged_git(tmp_path: Path) -> Path:
    """A folder with nothing but ``env`` and a ``git`` that writes its arguments and environment to ``git.log``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    git, env, sh = (shutil.which(name) for name in ("git", "env", "sh"))
    assert None not in (git, env, sh)
    (folder / "env").symlink_to(str(env))
    (folder / "git").write_text(
        f'#!{sh}\nfor word in "$@" ==== "$({env})" ----; do echo "$word"; done >> {tmp_path}/git.log\nexec {git} "$@"\n'
    )
    (folder / "git").chmod(0o755)
    return folder


def test_git_runs_in_isolation(tmp_path: Path, forge: Forge, tree: Path, logged_git: Path, touch: Path) -> None:
    (logged_git / "git-lfs").symlink_to(touch)
    commit = publish(forge.root, "bert", tree)
    marks = {
        "GIT_SSH_COMMAND": str(touch),
        "GIT_ASKPASS": str(touch),
        "SLIPWAY_SECRET": "x",
        "GIT_DIR": str(tmp_path / "other"),
    }
    done = run_process(forge.url("bert"), tmp_path / "store", env={"PATH": str(logged_git), **marks})
    assert outputs_of(done).revision == commit

    calls = [call.split("\n====\n", 1) for call in (tmp_path / "git.log").read_text().split("\n----\n") if call]
    # GitPython asks for the version when it is imported, before Slipway has a say.
    ours = [(words.splitlines(), environment) for words, environment in calls if words != "version"]
    for _, environment in ours:
        names = {line.partition("=")[0] for line in environment.splitlines()}
        assert names <= {
            *("PATH", "HOME", "LC_ALL", "PWD", "SHLVL", "OLDPWD", "_"),
            *(
                "GIT_CONFIG_NOSYSTEM",
                "GIT_CONFIG_GLOBAL",
                "GIT_TERMINAL_PROMPT",
                "GIT_ALLOW_PROTOCOL",
                "GIT_CEILING_DIRECTORIES",
                "GIT_NO_LAZY_FETCH",
                "GIT_TRACE_CURL",
                "GIT_TRACE_CURL_NO_DATA",
                "GIT_TRACE_REDACT",
            ),
            *("http_proxy", "https_proxy", "GIT_SSL_CAINFO", "GIT_PROXY_SSL_CAINFO"),
        }
        assert "GIT_ALLOW_PROTOCOL=http:https" in environment
        assert "GIT_CONFIG_GLOBAL=/dev/null" in environment
    commands = [words[2 * words.count("-c") :] for words, _ in ours]
    assert commands[0] == ["ls-remote", "--quiet", "--", forge.url("bert")]
    options = ["--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--filter=blob:limit=1024"]
    assert ["fetch", *options, "--", forge.url("bert"), commit] in commands
    assert {words[0] for words in commands} == {"ls-remote", "init", "fetch", "ls-tree", "cat-file"}
    for words, _ in ours:
        assert "core.hooksPath=/dev/null" in words


def test_settings_of_whoever_runs_it_are_not_read(tmp_path: Path, forge: Forge, tree: Path, trap: Forge, touch: Path) -> None:
    publish(forge.root, "bert", tree)
    home = tmp_path / "home"
    (home / ".config" / "git").mkdir(parents=True)
    elsewhere = trap.url("x").removesuffix("x.git")
    settings = f"""
[core]
    sshCommand = {touch}
    fsmonitor = {touch}
    askPass = {touch}
    hooksPath = {home}/hooks
    gitProxy = {touch}
[credential]
    helper = {touch}
[filter "lfs"]
    process = {touch}
    smudge = {touch}
    required = true
[url "{elsewhere}"]
    insteadOf = {forge.url("bert").removesuffix("bert.git")}
[http]
    proxy = {elsewhere}
"""
    for name in (".gitconfig", ".config/git/config", "settings"):
        (home / name).write_text(settings)
    (home / "hooks").mkdir()
    for hook in ("post-checkout", "reference-transaction", "post-merge", "fsmonitor-watchman"):
        shutil.copy(touch, home / "hooks" / hook)
    settings_by_name = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{elsewhere}.insteadOf",
        "GIT_CONFIG_VALUE_0": "http://",
    }
    done = run_process(
        forge.url("bert"),
        tmp_path / "store",
        env={
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "GIT_CONFIG_GLOBAL": str(home / "settings"),
            "GIT_CONFIG_SYSTEM": str(home / "settings"),
            "GIT_CONFIG_PARAMETERS": f"'url.{elsewhere}.insteadOf=http://'",
            **settings_by_name,
        },
    )
    assert outputs_of(done).files == 5


def test_settings_of_the_repository_are_not_read(context: Context, forge: Forge, tree: Path, trap: Forge, touch: Path) -> None:
    (tree / ".lfsconfig").write_text(
        f'[lfs]\n\turl = {trap.url("x")}/info/lfs\n[remote "origin"]\n\tlfsurl = {trap.url("x")}\n'
    )
    (tree / ".gitattributes").write_text(
        "* filter=evil diff=evil merge=evil\n*.json text eol=crlf working-tree-encoding=UTF-16\n"
    )
    (tree / ".gitconfig").write_text(f'[filter "evil"]\n\tsmudge = {touch}\n\tprocess = {touch}\n')
    (tree / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = x\n\turl = {trap.url("x")}\n')
    (tree / "hooks").mkdir()
    shutil.copy(touch, tree / "hooks" / "post-checkout")
    publish(forge.root, "bert", tree)
    files = taken(context, fetch(context, forge.url("bert")))
    assert set(files) == {"README.md", "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"}
    assert all(content == (tree / path).read_bytes() for path, content in files.items())


def test_a_repository_around_the_scratch_is_ignored(tmp_path: Path, forge: Forge, tree: Path, trap: Forge, touch: Path) -> None:
    publish(forge.root, "bert", tree)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True, env=GIT_ENVIRONMENT)
    with (tmp_path / ".git" / "config").open("a") as config:
        config.write(f'[url "{trap.url("x")}"]\n\tinsteadOf = {forge.url("bert")}\n[core]\n\tfsmonitor = {touch}\n')
    (tmp_path / "tmp").mkdir()
    assert outputs_of(run_process(forge.url("bert"), tmp_path / "store", env={"TMPDIR": str(tmp_path / "tmp")})).files == 5


def test_lfs_addresses_are_checked(context: Context, forge_root: Path, tree: Path) -> None:
    class PointsElsewhere(ForgeHandler):
        def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, object]:
            return {"oid": oid, "size": size, "actions": {"download": {"href": "file:///etc/passwd"}}}

    publish(forge_root, "bert", tree)
    with Forge(forge_root, handler=PointsElsewhere) as forge:
        with pytest.raises(SlipwayError, match="file://") as caught:
            fetch(context, forge.url("bert"))
        assert caught.value.reason is Reason.SOURCE_PROTOCOL
        assert object_requests(forge) == []


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b"\xff",
        b'{"objects": {}}',
        b'{"objects": [null]}',
        b'{"objects": [{"oid": ["x"], "size": 1}]}',
        b'{"objects": [{"oid": "OID", "size": 1}]}',
        b'{"objects": [{"oid": "OID", "size": "SIZE"}]}',
        b'{"objects": [{"oid": "OID", "size": SIZE}]}',
        b'{"objects": [{"oid": "OID", "size": SIZE, "actions": []}]}',
        b'{"objects": [{"oid": "OID", "size": SIZE, "actions": {"download": {"href": 5}}}]}',
        b'{"objects": [{"oid": "OID", "size": SIZE, "actions": {"download": {"href": ["x"]}}}]}',
        b'{"objects": [{"oid": "OID", "size": SIZE, "actions": {"download": {"href": "http://127.0.0.1/x", "header": 5}}}]}',
        b'{"objects": [{"oid": "OID", "size": SIZE, "error": {"code": 422, "message": "no"}}]}',
    ],
)
def test_a_malformed_batch_answer_is_a_protocol_error(context: Context, forge_root: Path, tree: Path, answer: bytes) -> None:
    weights = (tree / "model.safetensors").read_bytes()
    body = answer.replace(b"OID", sha256_bytes(weights).encode()).replace(b"SIZE", str(len(weights)).encode())

    class OutOfShape(ForgeHandler):
        def lfs_batch(self, name: str, request: bytes) -> Reply:
            return Reply(200, {"Content-Length": str(len(body))}, [body])

    publish(forge_root, "bert", tree)
    with Forge(forge_root, handler=OutOfShape) as forge:
        with pytest.raises(SlipwayError, match=r"127\.0\.0\.1") as caught:
            fetch(context, forge.url("bert"))
        assert caught.value.reason is Reason.SOURCE_PROTOCOL


def test_a_harmless_name_does_not_pass_the_gate(context: Context, forge: Forge, tree: Path) -> None:
    evil = json.dumps({"architectures": ["BertModel"], "auto_map": {"AutoModel": "modeling.Evil"}}).encode()
    (tree / "notes.txt").write_bytes(evil)
    publish(forge.root, "bert", tree, lfs=("*.safetensors", "notes.txt"))
    fetch(context, forge.url("bert"))
    (tree / "config.json").write_bytes(evil)
    publish(forge.root, "bert", tree, lfs=("*.safetensors", "notes.txt", "config.json"))
    with pytest.raises(SlipwayError, match=r"config\.json .*auto_map") as caught:
        fetch(context, forge.url("bert"))
    assert caught.value.reason is Reason.REMOTE_CODE


def packet(line: bytes) -> bytes:
    return b"%04x%b" % (len(line) + 4, line)


def test_a_servers_words_cannot_steer_the_terminal(tmp_path: Path, forge_root: Path, tree: Path) -> None:
    class Colourful(ForgeHandler):
        def git_upload_pack(self, name: str, body: bytes) -> Reply:
            if b"command=fetch" not in body:
                return super().git_upload_pack(name, body)
            words = packet(b"packfile\n") + packet(b"\x02\x1b[2J\x1b]0;owned\x07go away\n") + packet(b"\x03no") + b"0000"
            headers = {"Content-Type": "application/x-git-upload-pack-result", "Content-Length": str(len(words))}
            return Reply(200, headers, [words])

    publish(forge_root, "bert", tree)
    with Forge(forge_root, handler=Colourful) as forge:
        done = run_process(forge.url("bert"), tmp_path / "store")
    assert done.returncode == ExitCode.SOURCE
    assert r"\x1b[2J\x1b]0;owned\x07go away" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_servers_branches_cannot_steer_the_terminal(tmp_path: Path, forge_root: Path, tree: Path) -> None:
    commit = publish(forge_root, "bert", tree)

    class Colourful(ForgeHandler):
        def git_refs(self, name: str) -> Reply:
            document = packet(b"# service=git-upload-pack\n") + b"0000"
            document += packet(f"{commit} refs/heads/\x1b[2Jmain\0 object-format=sha1\n".encode()) + b"0000"
            headers = {"Content-Type": "application/x-git-upload-pack-advertisement", "Content-Length": str(len(document))}
            return Reply(200, headers, [document])

    with Forge(forge_root, handler=Colourful) as forge:
        done = run_process(forge.url("bert"), tmp_path / "store", "--revision=main")
    assert done.returncode == ExitCode.SOURCE
    assert r"It has: \x1b[2Jmain." in done.stderr
    assert "\x1b" not in done.stderr


def test_a_pointer_with_a_wrong_size_is_refused(context: Context, forge: Forge, tree: Path) -> None:
    weights = (tree / "model.safetensors").read_bytes()
    publish(forge.root, "bert", tree)
    (tree / "model.safetensors").write_bytes(lfs_pointer(sha256_bytes(weights), len(weights) - 1))
    publish(forge.root, "bert", tree, lfs=())
    with pytest.raises(SlipwayError, match=r"model\.safetensors") as caught:
        fetch(context, forge.url("bert"))
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
    assert object_requests(forge) == []


def test_a_large_batch_is_asked_for_in_parts(context: Context, forge: Forge, tree: Path) -> None:
    (tree / "more").mkdir()
    for number in range(101):
        (tree / "more" / f"{number}.safetensors").write_bytes(safetensors({"weight": noise(5, number)}))
    publish(forge.root, "bert", tree)
    assert fetch(context, forge.url("bert"), include=("more/*",)).files == 106
    assert len(batch_requests(forge)) == 2
    assert len(object_requests(forge)) == 102
    assert not os.listdir(context.scratch / "partial")
