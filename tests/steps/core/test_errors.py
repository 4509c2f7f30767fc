"""The closed list of reasons is a contract with workflows: codes, retries and hints."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

import crd
import pipelines
import steps
from steps.core.errors import REASONS, ExitCode, Reason, SlipwayError, from_os_error, to_slipway_error


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_class_meaning_and_hint(reason: Reason) -> None:
    info = REASONS[reason]
    assert reason.exit_code is info.exit_code
    assert reason.hint == info.hint
    assert info.hint.strip().endswith((".", "`."))
    assert len(info.hint) > 20
    assert reason.meaning == info.meaning
    assert info.meaning.endswith(".")
    assert info.meaning != info.hint
    assert reason.value.isidentifier()  # what a Kubernetes condition takes as a reason
    assert reason.value[0].isupper()


@pytest.mark.parametrize("reason", Reason)
def test_the_exit_code_decides_about_retries(reason: Reason) -> None:
    code = reason.exit_code
    assert code not in (0, 64, 65)  # Argo's executor exits with 64 and 65 on faults of its own
    assert reason.retryable == (code in (75, 130, 143))
    if not reason.retryable and reason is not Reason.INTERNAL_ERROR:
        assert 1 < code < 64


def test_every_exit_code_has_a_reason() -> None:
    assert set(REASONS) == set(Reason)
    assert {info.exit_code for info in REASONS.values()} == set(ExitCode) - {ExitCode.DONE}


def test_every_reason_is_used() -> None:
    packages = [Path(package.__path__[0]) for package in (steps, crd, pipelines)]
    source = "".join(path.read_text() for package in packages for path in package.rglob("*.py"))
    names = [reason.name for reason in Reason if source.count(f"Reason.{reason.name}") < 2]  # one is its line of the table
    assert names == []


def test_a_failure_may_have_a_better_hint() -> None:
    assert SlipwayError(Reason.TOO_LARGE, "It is too large.").hint == Reason.TOO_LARGE.hint
    assert SlipwayError(Reason.TOO_LARGE, "It is too large.", hint="Cut it.").hint == "Cut it."
    assert str(SlipwayError(Reason.TOO_LARGE, "It is too large.")) == "TooLarge: It is too large."


def test_control_characters_are_replaced() -> None:
    error = SlipwayError(
        Reason.REVISION_NOT_FOUND, "No \x1b[2Jbranch\u202e.", hint="It has: ma\x1b]0;in\x07, \u00e9t\u00e9\x9b."
    )
    assert error.message == "No \ufffd[2Jbranch\ufffd."
    assert error.hint == "It has: ma\ufffd]0;in\ufffd, \u00e9t\u00e9\ufffd."
    assert str(error) == f"RevisionNotFound: {error.message}"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (errno.ENOSPC, Reason.DISK_FULL),
        (errno.EDQUOT, Reason.DISK_FULL),
        (errno.EFBIG, Reason.DISK_FULL),
        (errno.EACCES, Reason.SYSTEM_REFUSED),
        (errno.EROFS, Reason.SYSTEM_REFUSED),
        (errno.ENOTTY, Reason.INTERNAL_ERROR),
    ],
)
def test_an_os_error_gets_its_reason(code: int, reason: Reason) -> None:
    error = from_os_error(OSError(code, "No luck", "/some/path"), "Cannot write x")
    assert (error.reason, error.message) == (reason, "Cannot write x: No luck (/some/path)")


def test_anything_raised_becomes_a_slipway_error() -> None:
    mine = SlipwayError(Reason.TOO_LARGE, "It is too large.")
    assert to_slipway_error(mine) is mine
    assert to_slipway_error(KeyboardInterrupt()).reason is Reason.INTERRUPTED
    assert to_slipway_error(MemoryError()).reason is Reason.OUT_OF_MEMORY
    assert to_slipway_error(OSError(errno.ENOSPC, "full")).reason is Reason.DISK_FULL
    bug = ZeroDivisionError("division by zero")
    assert (to_slipway_error(bug).reason, to_slipway_error(bug).message) == (
        Reason.INTERNAL_ERROR,
        "ZeroDivisionError: division by zero",
    )
    assert to_slipway_error(bug).__cause__ is bug
