"""`publish`: what it commits, what it keeps out of Git, and that equal folders are one commit."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipelines.demo.repository import lfs_object, lfs_pointer, publish, tip
from steps.core.digest import sha256_bytes

WEIGHTS = b"weights" * 100


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return a_tree(tmp_path / "tree")


def a_tree(tree: Path) -> Path:
    (tree / "sub" / "empty").mkdir(parents=True)
    (tree / "sub" / 'a b\n"ü".txt').write_bytes(b"one\r\n")
    (tree / "config.json").write_bytes(b"{}")
    (tree / "model.safetensors").write_bytes(WEIGHTS)
    (tree / "none.bin").write_bytes(b"")
    return tree


def git(root: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", f"--git-dir={root / 'digits.git'}", *arguments], check=True, capture_output=True).stdout


def listing(root: Path) -> dict[str, str]:
    """Path and mode of what the branch's tip lists."""
    lines = git(root, "ls-tree", "-r", "-z", "main").decode().split("\0")[:-1]
    return {path: head.split()[0] for head, path in (line.split("\t", 1) for line in lines)}


def test_equal_folders_are_one_commit(tmp_path: Path, tree: Path) -> None:
    first = publish(tmp_path / "one", "digits", tree)
    assert publish(tmp_path / "two", "digits", a_tree(tmp_path / "again")) == first
    assert tip(tmp_path / "one", "digits") == first
    assert git(tmp_path / "one", "log", "-1", "--format=%an <%ae> %aI %s").decode() == (
        "Slipway demo <demo@example.invalid> 2026-01-01T00:00:00+00:00 Publish the model\n"
    )


def test_the_callers_git_settings_change_nothing(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(tmp_path / "one", "digits", tree)
    (tmp_path / ".gitconfig").write_text("[core]\n autocrlf = true\n[user]\n name = X\n[commit]\n gpgsign = true\n")
    for variable, value in {"HOME": str(tmp_path), "GIT_AUTHOR_NAME": "X", "GIT_INDEX_FILE": "/nowhere/index"}.items():
        monkeypatch.setenv(variable, value)
    assert publish(tmp_path / "two", "digits", tree) == first


def test_only_a_change_adds_a_commit(tmp_path: Path, tree: Path) -> None:
    first = publish(tmp_path, "digits", tree)
    assert publish(tmp_path, "digits", tree, message="Again") == first
    (tree / "config.json").unlink()
    second = publish(tmp_path, "digits", tree)
    assert git(tmp_path, "rev-list", "main").decode().split() == [second, first]
    assert "config.json" not in listing(tmp_path)
    other = publish(tmp_path, "digits", tree, branch="other")
    assert tip(tmp_path, "digits", "other") == other
    assert tip(tmp_path, "digits") == second


def test_matching_files_become_pointers_and_objects(tmp_path: Path, tree: Path) -> None:
    publish(tmp_path, "digits", tree)
    oid = sha256_bytes(WEIGHTS)
    pointer = git(tmp_path, "show", "main:model.safetensors")
    assert pointer == lfs_pointer(oid, 700)
    assert pointer.decode() == f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 700\n"
    stored = lfs_object(tmp_path / "digits.git", oid)
    assert stored == tmp_path / "digits.git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    (tree / "model.safetensors").write_bytes(b"x")
    assert stored.read_bytes() == WEIGHTS
    assert git(tmp_path, "show", "main:none.bin") == b""
    assert "*.safetensors filter=lfs diff=lfs merge=lfs -text\n" in git(tmp_path, "show", "main:.gitattributes").decode()


def test_every_other_file_is_committed_byte_for_byte(tmp_path: Path, tree: Path) -> None:
    (tree / "run.sh").write_bytes(b"#!\n")
    (tree / "run.sh").chmod(0o755)
    (tree / "link").symlink_to("config.json")
    publish(tmp_path, "digits", tree, lfs=())
    assert listing(tmp_path) == {
        "config.json": "100644",
        "link": "120000",
        "model.safetensors": "100644",
        "none.bin": "100644",
        "run.sh": "100755",
        'sub/a b\n"ü".txt': "100644",
    }
    assert git(tmp_path, "show", "main:model.safetensors") == WEIGHTS
    assert git(tmp_path, "show", 'main:sub/a b\n"ü".txt') == b"one\r\n"
    assert git(tmp_path, "show", "main:link") == b"config.json"
    assert not (tmp_path / "digits.git" / "lfs").exists()


def test_the_folders_own_attributes_are_kept(tmp_path: Path, tree: Path) -> None:
    (tree / ".gitattributes").write_text("*.txt text")
    publish(tmp_path, "digits", tree, lfs=["*.safetensors"])
    expected = b"*.txt text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
    assert git(tmp_path, "show", "main:.gitattributes") == expected


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "-x", "a\n", "a" * 101])
def test_a_name_with_a_path_is_refused(tmp_path: Path, tree: Path, name: str) -> None:
    before = sorted(os.walk(tmp_path))
    with pytest.raises(ValueError, match="not a repository name"):
        publish(tmp_path, name, tree)
    assert sorted(os.walk(tmp_path)) == before


def test_what_git_refuses_is_not_published(tmp_path: Path, tree: Path) -> None:
    (tree / ".git").mkdir()
    (tree / ".git" / "config").write_text("x")
    with pytest.raises(RuntimeError, match=r"git left out .*\.git/config"):
        publish(tmp_path, "digits", tree)
    assert tip(tmp_path, "digits") is None
