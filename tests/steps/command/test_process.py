"""A command as a process: exit codes, what is written to standard error, signals, and the termination log."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from steps.command import termination_log
from steps.command.process import report_failure, run_to_exit_code
from steps.core.errors import ExitCode, Reason, SlipwayError


def fail(error: BaseException) -> int:
    raise error


def test_success_returns_its_own_code() -> None:
    assert run_to_exit_code(lambda: 3) == 3


def test_a_failure_returns_its_reasons_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_to_exit_code(lambda: fail(SlipwayError(Reason.SOURCE_BUSY, "Busy.", hint="Wait."))) == ExitCode.TRANSIENT
    assert capsys.readouterr().err == "error: SourceBusy: Busy.\n hint: Wait.\n"


def test_a_failure_as_json_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report_failure(SlipwayError(Reason.DISK_FULL, "Full.\nReally."), as_json=True)
    [line] = capsys.readouterr().err.splitlines()
    assert json.loads(line) == {
        "reason": "DiskFull",
        "message": "Full.\nReally.",
        "hint": Reason.DISK_FULL.hint,
        "retryable": False,
    }


def test_a_bug_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_to_exit_code(lambda: fail(ZeroDivisionError("by zero"))) == ExitCode.BUG
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.endswith(f"error: InternalError: ZeroDivisionError: by zero\n hint: {Reason.INTERNAL_ERROR.hint}\n")


@pytest.mark.fault("survived")
def test_a_traceback_cannot_act_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_to_exit_code(lambda: fail(ValueError("\x1b[2J\x1b]0;mine\x07 \u202e \udcff"))) == ExitCode.BUG
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert all(character.isprintable() or character == "\n" for character in error)


@pytest.mark.fault("survived")
def test_ctrl_c_is_told_before_the_end() -> None:
    """What ``slipway run --json`` writes as its last line."""
    told: list[SlipwayError] = []
    assert run_to_exit_code(lambda: fail(KeyboardInterrupt()), on_failure=told.append) == ExitCode.INTERRUPTED
    assert [error.reason for error in told] == [Reason.INTERRUPTED]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, ExitCode.INTERRUPTED)])
def test_a_signal_has_its_code(number: signal.Signals, code: ExitCode, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)

    def work() -> int:
        os.kill(os.getpid(), number)
        signal.sigtimedwait([], 1)
        return 0

    assert run_to_exit_code(work) == code
    assert signal.getsignal(number) is before
    assert capsys.readouterr().err.startswith(f"error: {code.name.capitalize()}: Stopped by ")


def test_sigint_works_where_it_was_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run_to_exit_code(lambda: fail(KeyboardInterrupt()) if signal.getsignal(signal.SIGINT) else 0) == 130
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_failure_is_in_the_termination_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "termination-log"
    monkeypatch.setattr(termination_log, "TERMINATION_LOG", log)
    report_failure(SlipwayError(Reason.DISK_FULL, "Full."))
    assert not log.exists(), "outside of a pod, none is made"
    log.touch()
    report_failure(SlipwayError(Reason.DISK_FULL, "Full."))
    assert json.loads(log.read_text())["reason"] == "DiskFull"


def test_an_unwritable_termination_log_is_only_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(termination_log, "TERMINATION_LOG", tmp_path)  # a folder
    report_failure(SlipwayError(Reason.DISK_FULL, "Full."))
    assert "The termination log cannot be written.\nerror: DiskFull: Full." in capsys.readouterr().err
