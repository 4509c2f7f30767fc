"""The least rate of a download: a server that sends a byte now and then holds a run up for ever, and breaks no other limit."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from steps.core.errors import Reason, SlipwayError
from steps.core.settings import read_settings
from steps.core.text import format_bytes
from steps.net.retry import TransientError

SLOW_WINDOWS = 3  # in a row, after which a download is given up: at first another connection is tried


class TooSlowError(TransientError):
    """A download that came in below the least rate. It is no progress, however many bytes it brought."""


@dataclass(frozen=True)
class LeastRate:
    """How many bytes a second a download must bring, and over how many seconds that is measured; 0 bytes: any rate will do."""

    rate: int
    seconds: float

    @classmethod
    def configured(cls) -> LeastRate:
        """What the settings say."""
        settings = read_settings()
        return cls(settings.least_rate, settings.least_rate_seconds)


class RateMeter:
    """Measures one download, which may come by several connections at once.

    Only the time counts in which somebody waits for the server: a slow disk of ours is no slow server.
    """

    def __init__(self, least: LeastRate, what: str) -> None:
        self._least, self._what = least, what
        self._lock = threading.Lock()
        self._waiters = 0
        self._last = 0.0
        self._waited = 0.0  # seconds, in this window
        self._bytes = 0  # likewise
        self._slow = 0  # windows in a row

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While a connection waits for bytes."""
        with self._lock:
            self._count(1)
        try:
            yield
        finally:
            with self._lock:
                self._count(-1)

    def got(self, count: int) -> None:
        """Add bytes that a connection got.

        Raises:
            TooSlowError: A window has ended below the least rate: another connection may be faster.
            SlipwayError: The same, for the third time in a row: ``NetworkUnreachable``.
        """
        with self._lock:
            self._bytes += count
            if self._waited < self._least.seconds:
                return
            got, waited = self._bytes, self._waited
            self._bytes, self._waited = 0, 0.0
            self._slow = self._slow + 1 if got < self._least.rate * waited else 0
            slow = self._slow
        if slow:
            kind = TooSlowError if slow < SLOW_WINDOWS else SlipwayError
            raise kind(
                Reason.NETWORK_UNREACHABLE,
                f"{self._what}: the server sent {format_bytes(got)} in {waited:.0f} seconds, and at least "
                f"{format_bytes(self._least.rate)} a second are required.",
                hint="Run again later: it continues where it stopped. The settings `least_rate` and `least_rate_seconds` say "
                "what is too slow.",
            )

    def _count(self, waiters: int) -> None:
        now = time.monotonic()
        if self._waiters:
            self._waited += now - self._last
        self._last = now
        self._waiters += waiters
