"""Progress of a running step: notes for a person, and how many of how many bytes are done.

A step calls ``note`` and ``meter``; the sink decides where the text goes. Sinks here write plain lines (logs, pods) or one JSON
object a line (for programs, and for the local runner, which reads a step in a process of its own); ``pipelines.display.run``
draws the live bars of a terminal.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass
from typing import Literal, TextIO

from steps.core.redaction import redact
from steps.core.text import format_bytes, format_seconds, printable


@dataclass(frozen=True)
class ProgressEvent:
    """One note, or one state of a meter; ``done`` and ``total`` are bytes and belong to events of kind ``progress``.

    ``before`` of ``done`` were there before this run: they say nothing about how fast it is.
    """

    kind: Literal["note", "progress"]
    text: str
    done: int = 0
    total: int = 0
    before: int = 0


class Progress:
    """The sink that drops everything, and the base of the others, which override ``emit``."""

    def emit(self, event: ProgressEvent) -> None:
        """Handle one event; any thread may call this."""
        del event

    def note(self, text: str) -> None:
        """Send one sentence or phrase for a person; control characters are replaced, secrets in addresses are cut out."""
        self.emit(ProgressEvent("note", redact(printable(text))))

    def meter(self, text: str, total: int, done: int = 0) -> Meter:
        """Start a meter with the label ``text`` for ``total`` bytes, ``done`` of which were there before."""
        return Meter(self, redact(printable(text)), total, done)


class Meter:
    """Counts bytes for one label; threads may share it. It sends at most ten events a second."""

    INTERVAL = 0.1

    def __init__(self, progress: Progress, text: str, total: int, done: int) -> None:
        self._progress, self._text, self._total, self._done = progress, text, total, done
        self._before = done
        self._lock = threading.Lock()
        self._sent = time.monotonic()
        progress.emit(ProgressEvent("progress", text, done, total, done))

    def advance(self, count: int, *, before: bool = False) -> None:
        """Add ``count`` bytes to what is done; ``before``: they were there already, and cost this run no time."""
        with self._lock:
            self._done += count
            self._before += count if before else 0
            now = time.monotonic()
            if now - self._sent < self.INTERVAL and self._done < self._total:
                return
            self._sent = now
            event = ProgressEvent("progress", self._text, self._done, self._total, self._before)
        self._progress.emit(event)


class JsonProgress(Progress):
    """One JSON object a line: ``{"kind", "text", "done", "total", "before"}``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def emit(self, event: ProgressEvent) -> None:
        """Write the event as one line."""
        with self._lock:
            print(json.dumps(asdict(event)), file=self._stream, flush=True)


class PlainProgress(Progress):
    """Plain lines for a log: every note, and each meter every five seconds and at its end."""

    INTERVAL = 5.0

    def __init__(self, stream: TextIO, prefix: str = "") -> None:
        self._stream, self._prefix = stream, prefix
        self._lock = threading.Lock()
        self._begun: dict[str, float] = {}
        self._sent: dict[str, float] = {}

    def emit(self, event: ProgressEvent) -> None:
        """Write a note at once, and a meter when its interval has passed."""
        with self._lock:
            if event.kind == "note":
                line = event.text
            else:
                now = time.monotonic()
                begun = self._begun.setdefault(event.text, now)
                sent = self._sent.setdefault(event.text, now)
                if event.done < event.total and now - sent < self.INTERVAL:
                    return
                self._sent[event.text] = now
                line = meter_line(event, now - begun)
            print(f"{self._prefix}{line}", file=self._stream, flush=True)


def meter_line(event: ProgressEvent, seconds: float) -> str:
    """Format a meter as text: bytes, rate and time left. What was not there before took ``seconds``."""
    moved = event.done - event.before
    line = f"{event.text}: {format_bytes(event.done)} of {format_bytes(event.total)}"
    if seconds > 0.05 and moved > 0:
        rate = moved / seconds
        line += f", {format_bytes(int(rate))}/s"
        if event.done < event.total:
            line += f", {format_seconds((event.total - event.done) / rate)} left"
    return line


def event_from_json(line: str) -> ProgressEvent | None:
    """Read the event that ``JsonProgress`` wrote on this line; None when the line is something else."""
    try:
        value: object = json.loads(line)
        return ProgressEvent(**value) if isinstance(value, dict) and value.get("kind") in ("note", "progress") else None
    except (ValueError, TypeError, RecursionError):
        return None
