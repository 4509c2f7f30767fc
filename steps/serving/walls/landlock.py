"""Landlock: the kernel refuses what a thread, and all threads that it starts later, may not open (Linux 5.13 and newer).

https://docs.kernel.org/userspace-api/landlock.html. It sees every open, also those of compiled libraries, and where a link
leads. It cannot be taken down again: a thread that has to open other things afterwards starts another one for the model.

The kernel's version of the interface (ABI) decides what can be handled: 2 adds moving between folders, 3 truncation, 4 TCP.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import sys

from .allowed import Allowed

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
VERSION = 1  # flag of CREATE_RULESET: return the ABI
PATH_BENEATH = 1
PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
REFER, TRUNCATE = 1 << 13, 1 << 14
ALL_OF_ABI_1 = (1 << 13) - 1
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
CONNECT_TCP = 1 << 1


def landlock_abi() -> int:
    """The version of the interface that this kernel has; 0 where it has none or a container does not let it be used."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _syscall(CREATE_RULESET, None, 0, VERSION))


def restrict_thread(allowed: Allowed) -> int:
    """Restrict this thread and those that it starts from now on. Returns the ABI; 0: nothing is restricted.

    A right that cannot be granted, because the path is missing or closed to this user already, is passed over.
    """
    abi = landlock_abi()
    if not abi:
        return 0
    handled = ALL_OF_ABI_1 | (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0)
    attributes = (ctypes.c_uint64 * 2)(handled, 0 if allowed.connect else CONNECT_TCP)
    ruleset = _syscall(CREATE_RULESET, ctypes.byref(attributes), 16 if abi >= 4 else 8, 0)
    if ruleset < 0:
        return 0
    try:
        read = READ_FILE | READ_DIR | (EXECUTE if allowed.programs else 0)
        write = (handled & ~EXECUTE) if not allowed.programs else handled
        for paths, rights in (
            (allowed.own, read),
            (allowed.libraries, read),
            (allowed.devices, write),
            (allowed.writable, write),
            (allowed.parents, REMOVE_DIR),
        ):
            for path in paths:
                _grant(ruleset, path, rights)
        if _prctl(PR_SET_NO_NEW_PRIVS, 1) != 0 or _syscall(RESTRICT_SELF, ruleset, 0, 0) != 0:
            return 0
    finally:
        os.close(ruleset)
    return abi


def _grant(ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= OF_FILES
            rule = _PathBeneath(rights, descriptor)
            _syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.byref(rule), 0)
        finally:
            os.close(descriptor)


class _PathBeneath(ctypes.Structure):
    """``struct landlock_path_beneath_attr`` of ``linux/landlock.h``."""

    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _syscall(number: int, *arguments: object) -> int:
    """The kernel's answer; below 0 for an error."""
    values = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return int(_libc().syscall(ctypes.c_long(number), *values))


def _prctl(option: int, value: int) -> int:
    zero = ctypes.c_ulong(0)
    return int(_libc().prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
