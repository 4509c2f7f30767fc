"""What a check of ``slipway doctor`` finds, and the time that it gets: a check that fails or hangs is a finding, too."""

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
    """One thing that is there or not.

    ``part`` is where (``MACHINE`` or ``CLUSTER``), ``what`` the thing, ``detail`` what is known of it. ``fix`` is the command
    that brings what is missing, or a sentence where there is none. What is not ``required`` may be missing.
    """

    part: str
    what: str
    good: bool
    detail: str = ""
    fix: str = ""
    required: bool = True


class Missing(Exception):
    """Raised by a check when something is missing; its text says what, ``fix`` how to get it where the check knows better."""

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


def check(part: str, what: str, ask: Callable[[], str], fix: str = "", *, required: bool = True) -> Finding:
    """Run a check and return its finding.

    Args:
        part: ``MACHINE`` or ``CLUSTER``.
        what: The thing that is checked.
        ask: Returns what is known of it; raises ``Missing`` or ``SlipwayError`` where something is wrong.
        fix: How to fix that, where what is raised does not say.
        required: Whether Slipway works without it.
    """
    try:
        return Finding(part, what, True, within(ask))
    except Missing as missing:
        return Finding(part, what, False, str(missing), missing.fix or fix, required=required)
    except SlipwayError as error:
        return Finding(part, what, False, error.message, error.hint, required=required)
    except TimeoutError as error:
        hint = fix or "Check that the address is right, and that a proxy or a firewall lets it through."
        return Finding(part, what, False, str(error), hint, required=required)


def within(ask: Callable[[], T], seconds: float = LIMIT) -> T:
    """Return or raise what ``ask`` returns or raises; raise ``TimeoutError`` after so many seconds, and leave its thread alone.

    Credential helpers, name servers and clients that try again have time limits of their own, which are longer.
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
