"""What each error number of the operating system means for a user: a reason, and what to do about it.

The numbers are those of errno(3), https://man7.org/linux/man-pages/man3/errno.3.html, as Python's module ``errno`` has them on
this system. ``steps.core.errors.from_os_error`` makes errors from this table. A number that only a mistake in a program can
cause, such as a bad address in memory, is the one kind that is a bug of Slipway.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from steps.core.reasons import Reason


@dataclass(frozen=True)
class OsErrorInfo:
    """What an error number means.

    Attributes:
        reason: The reason that it gets.
        hint: What the user can do about it.
        place: Whether it is about the file or folder that is named. Whoever opens it knows better what that is: a store, say.
    """

    reason: Reason
    hint: str
    place: bool = False


_ELSEWHERE = "or use another folder: --store for the store, TMPDIR for unfinished work"
_RIGHTS = f"You have not the right to do this: look at the owner and the rights of what is named (`ls -ld`), {_ELSEWHERE}."
_DEVICE = f"The disk or the file system reports a fault: look at the system's log (`dmesg`), {_ELSEWHERE}."
_FILE_SYSTEM = f"The file system of what is named cannot do this: use a file system of Linux such as ext4 or xfs, {_ELSEWHERE}."
_LATER = "The system cannot do it at this moment: run again."
_CONNECTION = "Check the network and whether the other side still runs, then run again."
_ADDRESS = "This machine cannot use that address: choose another one, such as 127.0.0.1."
_PROGRAM = "A program cannot be started: install it again, for this kind of machine."
_KEY = "The key of an encrypted file system is not loaded: unlock it, or use another folder."
_REPORT = Reason.INTERNAL_ERROR.hint


def _table() -> dict[int, OsErrorInfo]:
    found: dict[int, OsErrorInfo] = {}

    def add(reason: Reason, hint: str, names: str, *, place: bool = False) -> None:
        for name in names.split():
            number = getattr(errno, name, None)  # not every system has every number
            if isinstance(number, int):
                found.setdefault(number, OsErrorInfo(reason, hint, place))

    refused, busy, network = Reason.SYSTEM_REFUSED, Reason.SYSTEM_BUSY, Reason.NETWORK_UNREACHABLE
    # Space.
    add(Reason.DISK_FULL, f"Free space on the disk of what is named (`df -h`; `df -i` for inodes), {_ELSEWHERE}.", "ENOSPC")
    add(Reason.DISK_FULL, f"Your quota on this disk is used up (`quota -s`): remove files, {_ELSEWHERE}.", "EDQUOT")
    add(
        Reason.DISK_FULL,
        f"The file system or a limit of this process (`ulimit -f`) takes no file of this size: raise the limit, {_ELSEWHERE}.",
        "EFBIG EOVERFLOW",
    )
    add(Reason.OUT_OF_MEMORY, "Close other programs, or use a machine with more memory (`free -h`, `ulimit -v`).", "ENOMEM")
    # Rights, and what a path leads to.
    add(refused, _RIGHTS, "EACCES EPERM", place=True)
    add(refused, f"The file system is mounted read-only: mount it for writing, {_ELSEWHERE}.", "EROFS", place=True)
    add(refused, "Check the path that is named: something on the way to it does not exist.", "ENOENT", place=True)
    add(refused, "A part of the path that is named is a file and no folder: name another path.", "ENOTDIR", place=True)
    add(refused, "A folder is where a file should be: name another path, or move the folder away.", "EISDIR", place=True)
    add(refused, "Something of this name is there already: move it away, or name another path.", "EEXIST ENOTEMPTY", place=True)
    add(refused, "Symbolic links in the path lead in a circle: name the folder itself.", "ELOOP", place=True)
    add(
        refused,
        "A name may have 255 bytes and a path 4096 on most file systems: use a folder with a shorter path.",
        "ENAMETOOLONG",
        place=True,
    )
    add(refused, "The file system takes no such characters in names: use another folder.", "EILSEQ", place=True)
    # What a file system can do.
    add(refused, _FILE_SYSTEM, "EOPNOTSUPP ENOTSUP ENOSYS EINVAL EXDEV EPROTONOSUPPORT ENODATA ENOTUNIQ", place=True)
    add(refused, "The file system takes no more links to one file: use another folder.", "EMLINK", place=True)
    add(
        refused,
        f"The file system has no locks (or no more of them): use a folder on a local disk, {_ELSEWHERE}.",
        "ENOLCK",
        place=True,
    )
    add(
        refused,
        _DEVICE,
        "EIO ENXIO ENODEV EUCLEAN EREMOTEIO EBADMSG ENOMEDIUM EMEDIUMTYPE ENOTBLK ESPIPE ENOTNAM ENAVAIL EISNAM ENOLINK "
        "EREMOTE EMULTIHOP ESRMNT EADV EDOTDOT ENOSTR ETIME ENOSR ENOPKG ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI "
        "EL2HLT EBADE EXFULL ENOANO EBADRQC EBADSLT EBFONT EHWPOISON ERFKILL",
        place=True,
    )
    add(refused, _KEY, "ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED", place=True)
    # Limits of a process or the system, and programs.
    add(refused, "Too many files are open: raise the limit (`ulimit -n 4096`), then run again.", "EMFILE")
    add(refused, "The system has too many users or processes of yours: end some, or raise `ulimit -u`.", "EUSERS")
    add(refused, _PROGRAM, "ENOEXEC ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC")
    add(refused, "The environment or the list of arguments is too long: unset large variables, then run again.", "E2BIG")
    # Addresses to listen on.
    add(refused, "Another program uses this port: end it, or choose another port.", "EADDRINUSE")
    add(refused, _ADDRESS, "EADDRNOTAVAIL EAFNOSUPPORT EPFNOSUPPORT ESOCKTNOSUPPORT EPROTOTYPE ENOPROTOOPT")
    # What passes.
    add(
        busy,
        _LATER,
        "EINTR EAGAIN EWOULDBLOCK EBUSY EDEADLK EDEADLOCK EINPROGRESS EALREADY ERESTART ESTRPIPE ECANCELED EOWNERDEAD "
        "ENOTRECOVERABLE ENOBUFS ETOOMANYREFS EQFULL",
    )
    add(busy, "A program that is to be replaced still runs: wait until it has ended, then run again.", "ETXTBSY")
    add(busy, "Too many files are open on this machine: close other programs, then run again.", "ENFILE")
    add(busy, "A file of a network file system was replaced while it was open: run again.", "ESTALE")
    add(
        network,
        _CONNECTION,
        "ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ECONNREFUSED ETIMEDOUT EHOSTDOWN EHOSTUNREACH ENOTCONN "
        "ESHUTDOWN EPIPE ENONET ECOMM EPROTO EMSGSIZE EREMCHG",
    )
    # Nothing outside of a program causes these.
    add(
        Reason.INTERNAL_ERROR,
        _REPORT,
        "EBADF EFAULT ENOTTY ENOTSOCK EDESTADDRREQ EISCONN ESRCH ECHILD EDOM ERANGE EIDRM ENOMSG EBADFD EBADR ENOTCAPABLE",
    )
    return found


OS_ERRORS: Mapping[int, OsErrorInfo] = _table()
UNKNOWN = OsErrorInfo(Reason.SYSTEM_REFUSED, f"Look at the system's log (`dmesg`), {_ELSEWHERE}.")
# Errors that Python raises with no number, or with one that is not from errno(3).
_BY_CLASS: tuple[tuple[type[OSError], int], ...] = (
    (socket.gaierror, errno.EHOSTUNREACH),
    (TimeoutError, errno.ETIMEDOUT),
    (BrokenPipeError, errno.EPIPE),
    (ConnectionError, errno.ECONNRESET),
    (PermissionError, errno.EACCES),
    (FileNotFoundError, errno.ENOENT),
    (NotADirectoryError, errno.ENOTDIR),
    (IsADirectoryError, errno.EISDIR),
    (FileExistsError, errno.EEXIST),
    (InterruptedError, errno.EINTR),
    (BlockingIOError, errno.EAGAIN),
)
_TLS = OsErrorInfo(
    Reason.SYSTEM_REFUSED,
    "Check the certificates that this machine trusts: SSL_CERT_FILE and SSL_CERT_DIR, if set.",
)


def explain_os_error(error: OSError) -> OsErrorInfo | None:
    """Return what an error of the operating system means; None for one without a number that no class explains.

    Libraries raise ``OSError`` with a text alone, which says nothing of the system.
    """
    if isinstance(error, ssl.SSLError):  # its number is OpenSSL's
        return _TLS
    if isinstance(error, socket.gaierror) or error.errno is None:
        number = next((number for kind, number in _BY_CLASS if isinstance(error, kind)), None)
        return None if number is None else OS_ERRORS[number]
    return OS_ERRORS.get(error.errno, UNKNOWN)
