"""A limit, a deadline and a signal count also where they meet a destructor, in which Python drops what a handler raises."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from steps.command.signals import ending_signals
from steps.core.budget import Budget, TimeIsUpError, enforced
from steps.core.deadline import deadline
from steps.core.errors import SlipwayError, Terminated
from steps.core.lost_exceptions import noticed


class Lingers:
    """Takes long to go."""

    def __init__(self, begun: Callable[[], None]) -> None:
        self.begun = begun

    def __del__(self) -> None:
        self.begun()
        until = time.monotonic() + 20
        while time.monotonic() < until:
            time.sleep(0.01)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def nothing() -> None:
    """The block's own limit ends it."""


@pytest.mark.slow
@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    ("block", "begun", "raised"),
    [
        (lambda: enforced(Budget(memory=1 << 30, seconds=0.2), nothing), nothing, TimeIsUpError),
        (lambda: deadline("It", 0.2), nothing, SlipwayError),
        (ending_signals, terminate, Terminated),
    ],
    ids=["budget", "deadline", "SIGTERM"],
)
def test_what_a_destructor_drops_is_raised_again(
    block: Callable[[], AbstractContextManager[None]], begun: Callable[[], None], raised: type[BaseException]
) -> None:
    def work() -> None:
        Lingers(begun)
        threading.Event().wait(20)
        pytest.fail("it was lost")

    before = sys.unraisablehook
    with pytest.raises(raised), block():
        work()
    assert sys.unraisablehook is before


def test_other_exceptions_are_reported_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        def __del__(self) -> None:
            raise ValueError("x")

    reported: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: reported.append(unraisable.exc_type))
    with noticed(KeyboardInterrupt, lambda: pytest.fail("it is another one")):
        Fails()
    assert reported == [ValueError]
