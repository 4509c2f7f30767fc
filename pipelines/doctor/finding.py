"""What a check of the doctor finds, and the limits that it finds it in: a check that fails or hangs is a finding too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from steps.core.errors import SlipwayError

MACHINE, CLUSTER = "this machine", "the cluster"
LIMIT = 10.0  # seconds that a check may take
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One thing that is there or not. ``mend`` is a command, or a sentence where there is none."""

    part: str
    what: str
    good: bool
    detail: str = ""
    mend: str = ""
    required: bool = True


class Missing(Exception):
    """A check's answer when something is not there; its text says what. ``mend`` where the usual way does not help."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.mend = mend


def check(part: str, what: str, ask: Callable[[], str], mend: str = "", *, required: bool = True) -> Finding:
    """What ``ask`` answers, or why it does not; ``mend`` is shown where the failure itself knows no better."""
    try:
        return Finding(part, what, True, within(ask))
    except Missing as missing:
        return Finding(part, what, False, str(missing), missing.mend or mend, required=required)
    except SlipwayError as error:
        return Finding(part, what, False, error.message, error.hint, required=required)
    except TimeoutError as error:
        hint = mend or "Check that the address is right, and that a proxy or a firewall lets it through."
        return Finding(part, what, False, str(error), hint, required=required)


def within(ask: Callable[[], T], seconds: float = LIMIT) -> T:
    """What ``ask`` returns or raises; ``TimeoutError`` where it has done neither in time. It is left alone then.

    Some of what is asked has limits of its own that are longer: credential helpers, name servers, clients that try again.
    """
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} seconds") from None
