"""The least rate of a download: a server that sends a byte now and then holds a run up for ever, and breaks no other limit."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from steps.core.errors import Reason
from steps.core.settings import read_settings
from steps.core.text import format_bytes
from steps.net.retry import TransientError


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
    """Measures one download, which may come by several connections: each tells what it got and how long it had waited."""

    def __init__(self, least: LeastRate, what: str) -> None:
        self._least, self._what = least, what
        self._lock = threading.Lock()
        self._waiting: dict[int, float] = {}  # since when, by the thread that waits
        self._last = 0.0
        self._waited = 0.0  # seconds in which somebody waited for the server, in this window
        self._bytes = 0

    def wait(self) -> None:
        """A connection begins to wait for bytes."""
        with self._lock:
            now = self._count()
            self._waiting[threading.get_ident()] = now

    def got(self, count: int) -> None:
        """The connection got so many bytes. Raises ``TooSlowError`` where a window has ended below the least rate."""
        with self._lock:
            self._count()
            self._waiting.pop(threading.get_ident(), None)
            self._bytes += count
            if self._waited < self._least.seconds:
                return
            got, waited = self._bytes, self._waited
            self._bytes, self._waited = 0, 0.0
        if got < self._least.rate * waited:
            raise TooSlowError(
                Reason.NETWORK_UNREACHABLE,
                f"{self._what}: the server sent {format_bytes(got)} in {waited:.0f} seconds, and at least "
                f"{format_bytes(self._least.rate)} a second are required.",
                hint="Run again later: it continues where it stopped. The settings `least_rate` and `least_rate_seconds` say "
                "what is too slow.",
            )

    def _count(self) -> float:
        """Add the time since the last call, if anybody waited meanwhile: a slow disk of ours is no slow server."""
        now = time.monotonic()
        if self._waiting:
            self._waited += now - self._last
        self._last = now
        return now
