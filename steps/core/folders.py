"""Folders for unfinished work: each belongs to one process, is removed with it, and if that was killed, by the next command."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

KINDS = ("step", "put")  # folders of steps, and files that a store has not published yet
_roots: set[Path] = set()  # where this process has made folders


def temporary_root() -> Path:
    """Return this user's own folder below the system's temporary folder, which others share.

    A folder of that name which somebody else has made there is left alone: a new one gets a name that nobody could know.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"slipway-{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        return Path(tempfile.mkdtemp(prefix="slipway-"))
    return folder


@contextlib.contextmanager
def private_folder(root: Path) -> Iterator[Path]:
    """Make an empty folder below ``root`` that is removed when the block ends, whatever happens."""
    root.mkdir(parents=True, exist_ok=True)
    _roots.add(root)
    folder = Path(tempfile.mkdtemp(prefix=f"{KINDS[0]}-{os.getpid()}-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """As ``private_folder``, for a command without a store: below ``temporary_root``, which goes as well when it is empty."""
    root = temporary_root()
    remove_leftovers(root)
    try:
        with private_folder(root) as folder:
            yield folder
    finally:
        with contextlib.suppress(OSError):
            root.rmdir()


def remove_leftovers(root: Path) -> None:
    """Remove what processes of this machine that were killed have left below ``root``."""
    _roots.add(root)
    _remove(root, keep=os.getpid())


def remove_all_now() -> None:
    """Remove what this process and those that it started have left, before it ends at once."""
    for root in _roots:
        _remove(root, keep=0)


def _remove(root: Path, keep: int) -> None:
    for path in root.glob("*-*-*"):
        kind, pid, _ = path.name.split("-", 2)
        if kind not in KINDS or not pid.isdigit() or int(pid) == keep:
            continue
        if int(pid) != os.getpid() and psutil.pid_exists(int(pid)):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
