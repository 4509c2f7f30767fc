"""Being the only process at something, on file systems that have neither locks nor hard links: FAT, some network mounts, FUSE.

A claim is a file that is created exclusively, which every file system can do (open(2), ``O_EXCL``). It holds who made it, so
that the claim of a process that was killed does not hold up anybody.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

# What system calls answer where a file system does not have them: link(2), flock(2), fsync(2) of a folder, chmod(2).
NOT_SUPPORTED = frozenset(
    {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.ENOLCK, errno.EMLINK}
)
PAUSE = 0.02  # seconds between two looks at a claim of another
FOREIGN_SECONDS = 600.0  # after which the claim of another machine, of whose processes we know nothing, counts as left behind


@contextlib.contextmanager
def claim(path: Path, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Be the only process inside for this ``path``, which becomes the claim; ``wait`` is called once if another is inside."""
    waited = False
    while not _take(path):
        if not waited:
            wait()
            waited = True
        if _is_left_behind(path):
            _remove(path)
        else:
            time.sleep(PAUSE)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _take(path: Path) -> bool:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    with open(file, "w", encoding="utf-8") as claimed:
        claimed.write(f"{os.getpid()} {socket.gethostname()}\n")
    return True


def _is_left_behind(path: Path) -> bool:
    """Whether the process that made the claim has ended. Nobody is told apart from us before the text is written."""
    try:
        pid, _, host = path.read_text().partition(" ")
        age = time.time() - path.stat().st_mtime
    except (OSError, UnicodeDecodeError):
        return False
    if host.strip() == socket.gethostname() and pid.isdigit():
        return not psutil.pid_exists(int(pid))
    return age > FOREIGN_SECONDS


def _remove(path: Path) -> None:
    """Remove a claim that was left behind: one process at a time, so that nobody removes the next one's."""
    guard = path.with_name(f"{path.name}.removing")
    try:
        guard.mkdir()
    except FileExistsError:
        with contextlib.suppress(OSError):
            if time.time() - guard.stat().st_mtime > FOREIGN_SECONDS:
                guard.rmdir()
        time.sleep(PAUSE)
        return
    try:
        if _is_left_behind(path):
            path.unlink(missing_ok=True)
    finally:
        guard.rmdir()
