"""Trying again, in the one way of all stores: longer each time, as long as the server asks, and not for ever.

The clients' own retries are off. They differ from each other, know no ``Retry-After``, and cannot be told that nobody
waits for the answer any more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import SystemRandom
from typing import ParamSpec, TypeVar

PATIENCE = 120.0  # seconds of trying one request again
TIMEOUT = 60.0  # seconds without an answer
FIRST, LONGEST = 0.25, 30.0  # seconds of the first wait and of any wait that the server has not asked for
# https://cloud.google.com/storage/docs/retry-strategy and botocore's own list agree on these.
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

_JITTER = SystemRandom()  # the generator that tests seed is left alone

P = ParamSpec("P")
T = TypeVar("T")


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
    from steps.sources.http import retry_after

    return retry_after(header, datetime.now(UTC)) or 0.0


def _waits() -> Iterator[float]:
    wait = FIRST
    while True:
        yield wait * _JITTER.uniform(0.5, 1.0)
        wait = min(2 * wait, LONGEST)
