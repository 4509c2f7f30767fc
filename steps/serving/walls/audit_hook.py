"""An audit hook: Python itself refuses what its code may not open, on every system (PEP 578).

It does not see what compiled libraries open by themselves; where there is Landlock, the kernel does. A hook stays for as long
as the process lives, so there is one, which asks which wall stands: one for the whole process, but for some threads perhaps,
or one for a thread alone.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from .allowed import Allowed

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
WHY = "it belongs neither to the model nor to Python or the system's libraries, and is closed while a model is open"


@dataclass(frozen=True)
class _Folders:
    """Paths in the form in which they are compared: the files, and the folders each with a slash at its end."""

    files: frozenset[str]
    folders: tuple[str, ...]

    @classmethod
    def of(cls, *paths: str) -> _Folders:
        return cls(frozenset(paths), tuple(path.rstrip("/") + "/" for path in paths))

    def __contains__(self, path: str) -> bool:
        return path in self.files or path.startswith(self.folders)


class Rules:
    """One wall: what it lets through."""

    def __init__(self, allowed: Allowed) -> None:
        """Prepare to compare paths with what is allowed."""
        real = [os.path.realpath(path) for path in (*allowed.libraries, *allowed.devices)]
        own = [os.path.realpath(path) for path in allowed.own]
        writable = [os.path.realpath(path) for path in allowed.writable]
        devices = [os.path.realpath(path) for path in allowed.devices]
        self._system = _Folders.of(*allowed.libraries, *allowed.devices)
        self._devices = _Folders.of(*allowed.devices)
        self._read = _Folders.of(*real, *own, *writable)
        self._write = _Folders.of(*devices, *writable)
        self.connect, self.programs = allowed.connect, allowed.programs

    def may_open(self, path: str, *, write: bool) -> bool:
        """Whether this may be opened. Links outside of Python and the system are followed first."""
        path = os.path.abspath(path)
        if path in (self._devices if write else self._system):
            return True
        return os.path.realpath(path) in (self._write if write else self._read)


_installed = False
_process: Rules | None = None
_exempt: Set[int] = frozenset()  # the threads that the process's wall leaves out
_own_wall = threading.local()


def wall_off_process(allowed: Allowed, *, exempt: Set[int] = frozenset()) -> None:
    """Put up the wall for the whole process, but for the threads with the identifiers ``exempt``."""
    global _process, _exempt
    _install()
    _process, _exempt = Rules(allowed), exempt


def open_process() -> None:
    """Take the process's wall down."""
    global _process
    _process = None


def wall_off_thread(allowed: Allowed) -> None:
    """Put up a wall for this thread alone, until it ends."""
    _install()
    _own_wall.rules = Rules(allowed)


def refused_path(error: BaseException) -> str:
    """The path that a wall kept closed, if that led to an error: a library may report its own instead. Empty: none did."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError) and cause.strerror == WHY:
            return str(cause.filename)
        cause = cause.__cause__ or cause.__context__
    return ""


def _install() -> None:
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    check = _CHECKS.get(event)
    if check is None:
        return
    rules: Rules | None = getattr(_own_wall, "rules", None)
    if rules is None and _process is not None and threading.get_ident() not in _exempt:
        rules = _process
    if rules is not None:
        check(rules, arguments)


def _open(rules: Rules, arguments: tuple[object, ...]) -> None:
    path, _, flags = arguments[:3]
    _check_path(rules, path, write=isinstance(flags, int) and bool(flags & WRITING))


def _read(rules: Rules, arguments: tuple[object, ...]) -> None:
    _check_path(rules, arguments[0] if arguments else ".", write=False)


def _load(rules: Rules, arguments: tuple[object, ...]) -> None:
    if isinstance(arguments[0], str) and "/" in arguments[0]:  # a bare name is looked for where the system has its libraries
        _check_path(rules, arguments[0], write=False)


def _change(rules: Rules, arguments: tuple[object, ...]) -> None:
    if arguments[-1] == -1:  # else the path is relative to an open folder, which was checked when it was opened
        _check_path(rules, arguments[0], write=True)


def _change_both(rules: Rules, arguments: tuple[object, ...]) -> None:
    for path in arguments[:2]:
        _check_path(rules, path, write=True)


def _start(rules: Rules, arguments: tuple[object, ...]) -> None:
    if not rules.programs:
        raise PermissionError(errno.EACCES, "no program is started while a model is open", str(arguments[0])[:200])


def _connect(rules: Rules, arguments: tuple[object, ...]) -> None:
    if not rules.connect and isinstance(arguments[1], tuple):  # other addresses are of this machine: Unix sockets
        raise PermissionError(errno.EACCES, "no connection is made while a model is open", str(arguments[1])[:200])


def _check_path(rules: Rules, given: object, *, write: bool) -> None:
    if not isinstance(given, str | bytes | os.PathLike):
        return  # a descriptor
    path = os.fsdecode(given)
    if "/" not in path and path not in ("", ".", ".."):
        return  # it may be relative to an open folder, of which no event tells; that folder was checked
    if not rules.may_open(path, write=write):
        raise PermissionError(errno.EACCES, WHY, path)


# https://docs.python.org/3/library/audit_events.html
_CHECKS: Mapping[str, Callable[[Rules, tuple[object, ...]], None]] = {
    "open": _open,
    **dict.fromkeys(("os.listdir", "os.scandir", "sqlite3.connect"), _read),
    "ctypes.dlopen": _load,
    **dict.fromkeys(("os.remove", "os.rmdir", "os.mkdir"), _change),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), _change_both),
    **dict.fromkeys(("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn"), _start),
    **dict.fromkeys(("socket.connect", "socket.sendto"), _connect),
}
