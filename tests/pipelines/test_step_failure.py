"""The reason of a step in a process of its own is kept, whatever else it writes and however it ends."""

from __future__ import annotations

import signal

import pytest

from pipelines.step_failure import step_failure
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import Failure

WRITTEN = SlipwayError(Reason.TASK_MISMATCH, "It cannot.", hint="Choose another one.")
LINE = Failure.from_error(WRITTEN).model_dump_json()
WARNING = "resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked semaphore objects to clean up"


@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    "lines",
    [
        [LINE],
        ["Loading.", LINE, WARNING, "  warnings.warn('...')"],
        [LINE, *[WARNING] * 60],
        ['{"kind": "other"}', "{", "null", LINE, "{}", ""],
    ],
)
@pytest.mark.parametrize("code", [13, 1, -signal.SIGKILL, -signal.SIGSEGV])
def test_the_reason_that_was_written_is_kept(lines: list[str], code: int) -> None:
    found = step_failure("load", code, lines)
    assert (found.reason, found.message, found.hint) == (WRITTEN.reason, WRITTEN.message, WRITTEN.hint)


@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    ("step", "code", "lines", "reason", "said"),
    [
        ("load", -signal.SIGKILL, [], Reason.OUT_OF_MEMORY, "was killed"),
        ("load", -signal.SIGTERM, ["x"], Reason.TERMINATED, "SIGTERM"),
        ("load", -signal.SIGHUP, [], Reason.INTERRUPTED, "SIGHUP"),
        ("load", -signal.SIGXCPU, [], Reason.SYSTEM_REFUSED, "SIGXCPU"),
        ("load", -signal.SIGSEGV, ["Fatal Python error"], Reason.LOAD_FAILED, "SIGSEGV, a crash in a library:\nFatal Python"),
        ("smoke", -signal.SIGBUS, [], Reason.BOOT_FAILED, "SIGBUS, a crash in a library"),
        ("load", -signal.SIGABRT, ["what(): std::bad_alloc"], Reason.OUT_OF_MEMORY, "SIGABRT"),
        ("load", -40, [], Reason.LOAD_FAILED, "signal 40"),
        ("load", 1, ["Traceback", "KeyError"], Reason.INTERNAL_ERROR, "exit code 1 and no reason:\nTraceback\nKeyError"),
    ],
)
def test_an_end_without_a_reason_has_one(step: str, code: int, lines: list[str], reason: Reason, said: str) -> None:
    found = step_failure(step, code, lines)
    assert found.reason is reason
    assert f"The step {step}" in found.message
    assert said in found.message
