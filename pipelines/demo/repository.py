"""Publish a folder as a commit of a bare Git repository, its big files as Git LFS objects, without the git-lfs program.

A forge's root holds bare repositories ``NAME.git``; their LFS objects lie in ``NAME.git/lfs/objects/ab/cd/OID``, where
git-lfs keeps them too. ``publish`` is what a person does with ``git add``, ``git commit`` and ``git push``, made from
Git's plumbing commands: no working tree, no hooks, no configuration of whoever runs it. The commit is a function of the
folder and of the branch's history, so an example or a test can be repeated and names the same commit.

Order is what makes it safe to interrupt: LFS objects first, Git objects next, the branch last. What the branch does not
reach is not published.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO

from steps.core.digest import sha256_file

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LFS_PATTERNS = ("*.safetensors", "*.bin", "*.msgpack", "*.onnx", "*.h5")

# Nothing of the caller's environment but the search path reaches git: a user's hooks, filters, credentials or date
# formats would change what is published or served.
GIT_ENVIRONMENT: Mapping[str, str] = {
    "PATH": os.environ.get("PATH", os.defpath),
    "HOME": os.devnull,
    "LC_ALL": "C",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}
# One author and one date for every commit: equal folders give equal commit ids.
_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "Slipway demo"), ("EMAIL", "demo@example.invalid"), ("DATE", "1767225600 +0000"))
}


def bare_repository(root: Path, name: str) -> Path:
    """The folder of the repository ``name`` in a forge's root, which need not exist.

    Raises ``ValueError`` for a name with other characters than letters, digits, dot, dash and underscore.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a repository name: letters, digits, dot, dash and underscore, at most 100.")
    return root / f"{name}.git"


def lfs_object(repository: Path, oid: str) -> Path:
    """Where a bare repository keeps the LFS object ``oid`` (64 hex digits): git-lfs's own layout."""
    return repository / "lfs" / "objects" / oid[:2] / oid[2:4] / oid


def lfs_pointer(oid: str, size: int) -> bytes:
    """The text that stands in Git for an LFS object (the specification: git-lfs, ``docs/spec.md``)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


def tip(root: Path, name: str, branch: str = "main") -> str | None:
    """The commit that ``branch`` names, or None while the repository or the branch does not exist."""
    repository = bare_repository(root, name)
    if not (repository / "HEAD").is_file():
        return None
    # for-each-ref takes a full ref name as a pattern and exits 0 on none, which rev-parse does not.
    return _git(repository, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}") or None


def publish(
    forge_root: Path,
    name: str,
    tree: Path,
    *,
    lfs: Sequence[str] = LFS_PATTERNS,
    branch: str = "main",
    message: str = "Publish the model",
) -> str:
    """Commit the folder ``tree`` to ``branch`` of the repository ``name`` and return the commit id (40 hex digits).

    The repository is made when missing; later calls add commits. A folder equal to the branch's tip adds none and
    returns the tip. Files whose name matches a pattern of ``lfs`` become LFS objects, and ``.gitattributes`` says so;
    ``lfs=()`` commits every file as it is. Links are committed as links. Raises ``ValueError`` on a bad name and
    ``RuntimeError`` with git's own message when git fails.
    """
    repository = bare_repository(forge_root, name)
    if not (repository / "HEAD").is_file():
        repository.parent.mkdir(parents=True, exist_ok=True)
        _git(repository, "init", "--quiet", "--bare", "--template=", "--object-format=sha1", f"--initial-branch={branch}")
    parent = tip(forge_root, name, branch)
    commit_tree = _write_tree(repository, tree, lfs)
    if parent and commit_tree == _git(repository, "rev-parse", "--verify", f"{parent}^{{tree}}"):
        return parent
    parents = ["-p", parent] if parent else []
    commit = _git(repository, "commit-tree", *parents, "-m", message, commit_tree)
    # The old value makes it a compare-and-swap: of two writers one fails instead of losing the other's commit.
    _git(repository, "update-ref", f"refs/heads/{branch}", commit, parent or "0" * 40)
    return commit


def _write_tree(repository: Path, tree: Path, lfs: Sequence[str]) -> str:
    """Store the folder's files and return the id of the Git tree that lists them."""
    entries: dict[str, tuple[str, str]] = {}  # path: (mode, blob id)
    for path in sorted(tree.rglob("*")):
        if path.is_symlink():
            mode, blob = "120000", _blob(repository, os.fsencode(path.readlink()))
        elif path.is_dir():
            continue
        else:
            mode = "100755" if path.stat().st_mode & 0o100 else "100644"
            # An empty file is its own pointer (git-lfs, docs/spec.md).
            if path.stat().st_size and any(fnmatchcase(path.name, pattern) for pattern in lfs):
                blob = _blob(repository, lfs_pointer(*_store_lfs_object(repository, path)))
            else:
                with path.open("rb") as file:
                    blob = _blob(repository, file)
        entries[path.relative_to(tree).as_posix()] = mode, blob
    if lfs:
        own = tree / ".gitattributes"
        lines = own.read_text().splitlines() if own.is_file() else []
        lines += [f"{pattern} filter=lfs diff=lfs merge=lfs -text" for pattern in lfs]
        unique = "".join(f"{line}\n" for line in dict.fromkeys(lines))
        entries[".gitattributes"] = "100644", _blob(repository, unique.encode())
    listing = b"".join(
        b"%b %b\t%b\0" % (mode.encode(), blob.encode(), os.fsencode(path)) for path, (mode, blob) in entries.items()
    )
    with tempfile.TemporaryDirectory(prefix="index-", dir=repository) as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder).absolute() / "index")}
        _git(repository, "update-index", "-z", "--index-info", source=listing, variables=index)
        written = _git(repository, "write-tree", variables=index)
    # update-index skips a name that git finds unsafe (`.git/config`), and exits 0.
    missing = entries.keys() - _git(repository, "ls-tree", "-r", "-z", "--name-only", written).split("\0")
    if missing:
        raise RuntimeError(f"git left out {', '.join(sorted(missing))} of {tree}")
    return written


def _store_lfs_object(repository: Path, path: Path) -> tuple[str, int]:
    """Copy a file into the repository's LFS objects; returns its oid and size in bytes."""
    # A copy, not a hard link: the folder's owner may write into the file later, and an object must never change.
    incoming = repository / "lfs" / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=incoming) as folder:
        copy = Path(folder) / "object"
        shutil.copyfile(path, copy)
        oid, size = sha256_file(copy), copy.stat().st_size
        place = lfs_object(repository, oid)
        place.parent.mkdir(parents=True, exist_ok=True)
        copy.replace(place)
    return oid, size


def _blob(repository: Path, content: bytes | IO[bytes]) -> str:
    return _git(repository, "hash-object", "-w", "--no-filters", "--stdin", source=content)


def _git(repository: Path, *arguments: str, source: bytes | IO[bytes] = b"", variables: Mapping[str, str] | None = None) -> str:
    """Run git on a bare repository, ``source`` on its standard input, and return what it printed."""
    argv = ["git", f"--git-dir={repository}", *arguments]
    environment = {**GIT_ENVIRONMENT, **_IDENTITY, **(variables or {})}
    if isinstance(source, bytes):
        done = subprocess.run(argv, input=source, capture_output=True, env=environment)
    else:
        done = subprocess.run(argv, stdin=source, capture_output=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"git {arguments[0]} failed in {repository}: {done.stderr.decode(errors='replace').strip()}")
    return os.fsdecode(done.stdout).removesuffix("\n")
