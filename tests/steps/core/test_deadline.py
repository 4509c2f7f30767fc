"""The time that a step may take, kept by the process."""

from __future__ import annotations

import signal
import threading

import pytest

from steps.core.deadline import deadline, step_deadline
from steps.core.errors import Reason, SlipwayError
from steps.core.graph import STEP_DEADLINES
from steps.core.settings import Settings


@pytest.mark.fault("survived")
def test_what_hangs_is_stopped() -> None:
    cleaned = []

    def hang() -> None:
        try:
            threading.Event().wait(60)
        except Exception:
            raise AssertionError("no library may keep it to itself") from None
        finally:
            cleaned.append(True)

    with pytest.raises(SlipwayError, match=r"The step fetch took longer than 0\.05 seconds") as caught, deadline(
        "The step fetch", 0.05
    ):  # fmt: skip
        hang()
    assert (caught.value.reason, caught.value.reason.retryable) == (Reason.DEADLINE_EXCEEDED, True)
    assert "step_deadline" in caught.value.hint
    assert cleaned == [True]


def test_the_alarm_is_gone_after_the_block() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(ValueError, match="x"), deadline("It", 60):
        raise ValueError("x")
    with deadline("It", 60):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
    assert signal.getsignal(signal.SIGALRM) is before


def test_other_threads_have_no_limit() -> None:
    done = []

    def work() -> None:
        with deadline("It", 0.001):
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


@pytest.mark.parametrize("step", sorted(STEP_DEADLINES))
def test_the_setting_replaces_every_limit(step: str) -> None:
    waits = 100 if step == "cloudbuild" else 0
    assert step_deadline(step, Settings(step_deadline=5, build_wait=100)) == 5 + waits
    assert step_deadline(step, Settings(build_wait=100)) == STEP_DEADLINES[step] + waits
