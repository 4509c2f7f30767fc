"""Every error number of the operating system has a reason and a hint, and only a program's own mistakes are bugs."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from pathlib import Path

import pytest

from steps.core.errors import Reason, from_os_error, to_slipway_error
from steps.core.os_errors import OS_ERRORS, UNKNOWN, explain_os_error

NAMES = sorted(set(errno.errorcode.values()))
TRANSIENT = "EINTR EAGAIN EBUSY ESTALE ETXTBSY ETIMEDOUT ENETUNREACH ECONNRESET ECONNREFUSED EHOSTUNREACH ENOTCONN EPIPE ENFILE"
DISK = "ENOSPC EDQUOT EFBIG"
MACHINE = (
    "EACCES EPERM EROFS ENOENT ENOTDIR EISDIR EEXIST ELOOP ENAMETOOLONG EILSEQ EOPNOTSUPP ENOSYS EMLINK ENOLCK EIO EMFILE "
    "ENOEXEC EINVAL EXDEV EADDRINUSE E2BIG"
)
# What only a program's mistake causes: a wrong descriptor, address, kind of file or child.
BUGS = {"EBADF", "EFAULT", "ENOTTY", "ENOTSOCK", "EDESTADDRREQ", "EISCONN", "ESRCH", "ECHILD", "EDOM", "ERANGE"}
BUGS |= {"EIDRM", "ENOMSG", "EBADFD", "EBADR"}


@pytest.mark.fault("survived")
@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_reason_and_hint(name: str) -> None:
    error = from_os_error(OSError(getattr(errno, name), os.strerror(getattr(errno, name)), "/a/file"), "Cannot write x")
    assert error.message.startswith("Cannot write x: ")
    assert error.message.endswith("(/a/file)")
    assert len(error.hint) > 20
    assert error.hint.endswith(".")
    assert (error.reason is Reason.INTERNAL_ERROR) == (name in BUGS)
    assert getattr(errno, name) in OS_ERRORS


@pytest.mark.parametrize("name", TRANSIENT.split())
def test_what_passes_is_tried_again(name: str) -> None:
    assert from_os_error(OSError(getattr(errno, name), "no"), "Cannot").reason.retryable


@pytest.mark.parametrize("name", DISK.split())
def test_a_lack_of_space_is_one_reason(name: str) -> None:
    assert from_os_error(OSError(getattr(errno, name), "no"), "Cannot").reason is Reason.DISK_FULL


@pytest.mark.parametrize("name", MACHINE.split())
def test_what_a_machine_refuses_is_permanent(name: str) -> None:
    assert from_os_error(OSError(getattr(errno, name), "no", "/x"), "Cannot").reason is Reason.SYSTEM_REFUSED


@pytest.mark.parametrize(("name", "kept"), [("EACCES", True), ("EIO", True), ("EMFILE", False), ("ENOSPC", False)])
def test_a_store_has_its_own_reason(name: str, kept: bool) -> None:
    """Where the place is at fault, and not where the process or the disk is."""
    error = from_os_error(OSError(getattr(errno, name), "no", "/x"), "Cannot store x", place=Reason.STORE_UNREADABLE)
    assert (error.reason is Reason.STORE_UNREADABLE) == kept


def test_a_number_of_another_system_is_no_bug() -> None:
    assert explain_os_error(OSError(4242, "Unheard of")) is UNKNOWN
    assert to_slipway_error(OSError(4242, "Unheard of")).reason is Reason.SYSTEM_REFUSED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError("slow"), Reason.NETWORK_UNREACHABLE),
        (ConnectionResetError(), Reason.NETWORK_UNREACHABLE),
        (BrokenPipeError(), Reason.NETWORK_UNREACHABLE),
        (socket.gaierror(-2, "Name or service not known"), Reason.NETWORK_UNREACHABLE),
        (PermissionError(), Reason.SYSTEM_REFUSED),
        (ssl.SSLError(1, "no certificate found"), Reason.SYSTEM_REFUSED),  # 1 is EPERM elsewhere
        (OSError("a library's own text"), Reason.INTERNAL_ERROR),
    ],
)
def test_errors_without_a_number_have_reasons(error: OSError, reason: Reason) -> None:
    found = to_slipway_error(error)
    assert found.reason is reason
    assert (error.strerror or str(error)) in found.message


def test_both_names_of_an_error_are_shown() -> None:
    error = from_os_error(OSError(errno.EPERM, "no", "/a", None, b"/b\xff"), "Cannot link")
    assert error.message == "Cannot link: no (/a -> /b\ufffd)"


@pytest.mark.fault("refused")
def test_a_deleted_working_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        Path("x").absolute()
    error = to_slipway_error(caught.value)
    assert error.reason is Reason.INVALID_INPUT
    assert "the folder that this command was started in does not exist any more" in error.message
