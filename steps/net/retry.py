"""The one retry loop: every client of Slipway tries again by a ``RetryPolicy``, and none by a loop of its own.

The retries that client libraries bring along are switched off. They differ from each other, know no ``Retry-After``, and
cannot be told that nobody waits for the answer any more.

A client has its policy as a named constant, with the reason for its figures. Work that is one function goes through
``RetryPolicy.call``. Work that goes on where it was cut, such as a stream, keeps the ``Retries`` of ``RetryPolicy.start`` and
gives each failure to ``Retries.wait_after``.
"""

from __future__ import annotations

import email.utils
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from random import SystemRandom
from typing import TypeVar

from steps.core.clock import Clock, SystemClock
from steps.core.errors import Reason, SlipwayError
from steps.core.text import display_text, format_rough_duration

# Statuses from 500 that do not pass: the server cannot do it at all (RFC 9110), or the network asks for a login (RFC 6585).
_LASTING = frozenset({501, 505, 510, 511})
STOP_CHECK = 1.0  # seconds of a clock's sleep between two looks at whether the work was stopped

_JITTER = SystemRandom()  # not the generator that a program or a test may have seeded

T = TypeVar("T")


class TransientError(SlipwayError):
    """A failure of one request that may pass.

    ``wait`` is the server's ``Retry-After`` in seconds, None where it sent none. ``budget`` is the seconds for which a failure
    of this kind is worth further tries, where that is less than a server's restart takes.
    """

    def __init__(
        self, reason: Reason, message: str, wait: float | None = None, *, hint: str | None = None, budget: float | None = None
    ) -> None:
        super().__init__(reason, message, hint=hint)
        self.wait = wait
        self.budget = budget


def is_transient(status: int) -> bool:
    """Whether a status may pass (RFC 9110 and RFC 6585): a time-out, too many requests, or a failure of the server."""
    return status in (408, 425, 429) or (status >= 500 and status not in _LASTING)


def requested_wait(error: Exception) -> float | None:
    """The seconds to wait before a ``TransientError`` is tried again (0 where the server named none), None for other errors."""
    return (error.wait or 0.0) if isinstance(error, TransientError) else None


def retry_messages(note: Callable[[str], None]) -> Callable[[Exception, float], None]:
    """A ``notify`` for ``RetryPolicy.call`` that passes each failure and the wait on to ``note`` as one line of text."""

    def notify(error: Exception, wait: float) -> None:
        text = error.message if isinstance(error, SlipwayError) else display_text(str(error) or type(error).__name__)
        note(f"{text.rstrip('.')}. Trying again in {wait:.1f} s.")

    return notify


def ignore_retries(error: Exception, wait: float) -> None:
    """A ``notify`` that reports nothing."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and for how long one request is tried again.

    Attributes:
        attempts: The most tries, the first one included; None sets no limit.
        budget: Seconds from the first try within which the last one must begin, less those that the server requested to wait;
            None sets no limit. One of ``attempts`` and ``budget`` must be set.
        least: Tries that there are however long each takes, where the budget would allow fewer: one that moves gigabytes before
            its connection breaks takes longer than a server's restart.
        first: Seconds of the first wait. Each further wait is twice as long, with a jitter of a fifth, and never shorter
            than what the server requests by ``Retry-After``.
        longest: Seconds of the longest wait that the server has not requested.
        longest_retry_after: Seconds that a server may request to wait, all its requests together; more end the tries.
    """

    attempts: int | None = None
    budget: float | None = None
    least: int = 5
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
        transient: Callable[[Exception], float | None] = requested_wait,
        clock: Clock | None = None,
        notify: Callable[[Exception, float], None] = ignore_retries,
        stopped: threading.Event | None = None,
    ) -> T:
        """Call ``work`` until it succeeds, and return what it returns.

        Args:
            work: One try.
            transient: Gives the seconds that the server requests to wait after an error: 0 where it names none, None where
                trying again cannot help. The default knows ``TransientError``.
            clock: Measures and waits; the machine's own clock where it is None.
            notify: Called with each error that is tried again, and the wait in seconds.
            stopped: Ends a wait, and with it the tries, once it is set.

        Raises:
            Exception: What the last try raised.
        """
        retries = self.start(transient=transient, clock=clock, notify=notify, stopped=stopped)
        while True:
            try:
                return work()
            except Exception as error:
                retries.wait_after(error)

    def start(
        self,
        *,
        transient: Callable[[Exception], float | None] = requested_wait,
        clock: Clock | None = None,
        notify: Callable[[Exception, float], None] = ignore_retries,
        stopped: threading.Event | None = None,
    ) -> Retries:
        """Begin the tries of one request whose loop is the caller's. The arguments are those of ``call``."""
        return Retries(self, transient, clock, notify, stopped)

    def delays(self) -> Iterator[float]:
        """Seconds to wait after each try, without end: doubled from ``first`` to ``longest``, with a jitter of a fifth."""
        delay = self.first
        while True:
            yield delay * _JITTER.uniform(0.8, 1.2)
            delay = min(2 * delay, self.longest)


# Every client's. A rolling restart of a forge, a registry or a control plane takes up to two minutes, in which connections are
# refused, reset or answered with 502 and 503; a bucket needs one to scale to a new load
# (https://cloud.google.com/storage/docs/request-rate). The last try begins after more than two minutes, at whatever point of
# the waits these end. A step that fails for good is tried again as a whole, by whoever runs it.
SERVER_RETRIES = RetryPolicy(budget=150.0, first=0.5, longest=15.0)
# For which a host's unknown name is looked up again: the answer rarely changes, and most often the name is misspelt.
UNKNOWN_NAME_SECONDS = 20.0


class Retries:
    """The tries of one request: how many there were, and since when."""

    def __init__(
        self,
        policy: RetryPolicy,
        transient: Callable[[Exception], float | None],
        clock: Clock | None,
        notify: Callable[[Exception, float], None],
        stopped: threading.Event | None,
    ) -> None:
        self._policy, self._transient, self._notify, self._stopped = policy, transient, notify, stopped
        self._real_time = clock is None
        self._clock = clock or SystemClock()
        self.restart()

    def restart(self) -> None:
        """Count from the beginning: for a failure after which the work had got on."""
        self._begin = self._clock.monotonic()
        self._failures = 0
        self._requested = 0.0  # seconds that were waited because the server requested it
        self._delays = self._policy.delays()

    def wait_after(self, error: Exception) -> None:
        """Wait until the next try; raise ``error`` where there is none."""
        policy = self._policy
        requested = self._transient(error)
        self._failures += 1
        if requested is None or self._failures == policy.attempts:
            raise error
        wait = needed = next(self._delays)
        spent = self._clock.monotonic() - self._begin - self._requested
        if requested > wait:
            wait, needed = requested, 0.0
            self._requested += requested
        budgets = [each for each in (policy.budget, getattr(error, "budget", None)) if each is not None]
        over = bool(budgets) and spent + needed > min(budgets) and self._failures >= policy.least
        if self._requested > policy.longest_retry_after and isinstance(error, TransientError):
            text = f"{error.message.rstrip('.')}. The server asks to wait {format_rough_duration(requested)}."
            raise TransientError(error.reason, text, error.wait, hint=error.hint, budget=error.budget) from error
        if over or self._requested > policy.longest_retry_after:
            raise error
        if self._stopped is not None and self._stopped.is_set():
            raise error
        self._notify(error, wait)
        self._sleep(wait)
        if self._stopped is not None and self._stopped.is_set():
            raise error

    def _sleep(self, seconds: float) -> None:
        if self._stopped is None:
            self._clock.sleep(seconds)
        elif self._real_time:
            self._stopped.wait(seconds)
        else:
            while seconds > 0 and not self._stopped.is_set():
                self._clock.sleep(min(seconds, STOP_CHECK))
                seconds -= STOP_CHECK


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
