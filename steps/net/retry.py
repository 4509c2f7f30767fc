"""The one retry loop: every client of Slipway tries again by a ``RetryPolicy``, and none by a loop of its own.

The retries that client libraries bring along are switched off. They differ from each other, know no ``Retry-After``, and
cannot be told that nobody waits for the answer any more.
"""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import SystemRandom
from typing import ParamSpec, TypeVar

from steps.core.clock import Clock, SystemClock

# Statuses that may pass (RFC 9110 and RFC 6585). https://cloud.google.com/storage/docs/retry-strategy and botocore agree.
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

_JITTER = SystemRandom()  # not the generator that a program or a test may have seeded

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often and for how long one request is tried again.

    ``attempts`` counts the first try too; None sets no limit. ``budget`` is the time in seconds from the first try within which
    the last one must begin; None sets no limit, and one of the two must be set. Waits double from ``first`` to ``longest``
    seconds, with jitter, and are never shorter than what the server asks for by ``Retry-After``. A server that asks for more
    than ``longest_retry_after`` seconds ends the tries.
    """

    attempts: int | None = None
    budget: float | None = None
    first: float = 0.5
    longest: float = 30.0
    longest_retry_after: float = 600.0

    def __post_init__(self) -> None:
        if self.attempts is None and self.budget is None:
            raise ValueError("a retry policy needs a number of attempts or a budget")

    def call(
        self,
        work: Callable[[], T],
        *,
        transient: Callable[[Exception], float | None],
        clock: Clock | None = None,
        notify: Callable[[Exception, float], None] = lambda error, wait: None,
        stopped: threading.Event | None = None,
    ) -> T:
        """Call ``work`` until it succeeds, and return what it returns.

        ``transient`` says of an error how many seconds the server asks to wait: 0 where it names none, None where trying again
        cannot help. ``notify`` hears of each error that is tried again, with the wait in seconds. Setting ``stopped`` ends a
        wait. Raises what the last try raised.
        """
        clock = clock or SystemClock()
        begin = clock.monotonic()
        for attempt, delay in enumerate(self.delays(), 1):
            try:
                return work()
            except Exception as error:
                asked = transient(error)
                if asked is None or attempt == self.attempts or asked > self.longest_retry_after:
                    raise
                wait = max(asked, delay)
                if self.budget is not None and clock.monotonic() - begin + wait > self.budget:
                    raise
                notify(error, wait)
                if stopped is None:
                    clock.sleep(wait)
                elif stopped.wait(wait):
                    raise
        raise AssertionError("the delays do not end")

    def delays(self) -> Iterator[float]:
        """Seconds to wait after each try, without end: doubled from ``first`` to ``longest``, with a jitter of a fifth."""
        delay = self.first
        while True:
            yield delay * _JITTER.uniform(0.8, 1.2)
            delay = min(2 * delay, self.longest)


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header (RFC 9110, section 10.2.3: seconds or a date) asks for; None for nonsense."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value.strip())
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


PATIENCE = 120.0  # seconds of trying one request again
TIMEOUT = 60.0  # seconds without an answer
FIRST, LONGEST = 0.25, 30.0  # seconds of the first wait and of any wait that the server has not asked for
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

P = ParamSpec("P")


class Patience:
    """Tries for ``seconds``. ``asked`` says of an error how long the server wants to be left alone, in seconds: 0 where
    that is not said, None where trying again cannot help."""

    def __init__(self, seconds: float, asked: Callable[[Exception], float | None]) -> None:
        self.seconds = seconds
        self.asked = asked

    def __call__(self, attempt: Callable[P, T], stopped: threading.Event | None = None) -> Callable[P, T]:
        """``attempt``, tried until it works, cannot work, or ``stopped`` is set; what it raised last comes out."""
        ended = stopped or threading.Event()

        def patiently(*args: P.args, **kwargs: P.kwargs) -> T:
            end = time.monotonic() + self.seconds
            waits = _waits()
            while True:
                try:
                    return attempt(*args, **kwargs)
                except Exception as error:
                    asked = self.asked(error)
                    if asked is None:
                        raise
                    wait = max(asked, next(waits))
                    if time.monotonic() + wait > end or ended.wait(wait):
                        raise

        return patiently


def seconds_asked(header: str | None) -> float:
    """What a ``Retry-After`` header asks for; 0 where there is none."""
    return retry_after(header, datetime.now(UTC)) or 0.0


def _waits() -> Iterator[float]:
    wait = FIRST
    while True:
        yield wait * _JITTER.uniform(0.5, 1.0)
        wait = min(2 * wait, LONGEST)
