"""What a running step tells: notes for a person and bytes done of bytes to do.

A step calls ``note`` and ``meter``; where the words go is the sink's business. Sinks here write plain lines (logs, pods)
or one JSON object a line (machines, and the local runner reading a step in a process of its own); the live bars of a
terminal are drawn by ``pipelines.display.run``.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any, Literal, TextIO

from steps.core.text import format_bytes, format_seconds, printable


@dataclass(frozen=True)
class ProgressEvent:
    """One thing to tell. ``done`` and ``total`` are bytes and stand only in ``progress`` events."""

    kind: Literal["note", "progress"]
    text: str
    done: int = 0
    total: int = 0


class Progress:
    """The sink that says nothing, and the base of the others: they override ``emit``, which any thread may call."""

    def emit(self, event: ProgressEvent) -> None:
        del event

    def note(self, text: str) -> None:
        """Tell a person one finished sentence or phrase."""
        self.emit(ProgressEvent("note", printable(text)))

    def meter(self, text: str, total: int, done: int = 0) -> Meter:
        """Begin to count bytes of ``total`` under a label; ``done`` of them were there before."""
        return Meter(self, text, total, done)


class Meter:
    """Counts bytes for one label; safe to advance from many threads, tells at most ten times a second."""

    INTERVAL = 0.1

    def __init__(self, progress: Progress, text: str, total: int, done: int) -> None:
        self._progress, self._text, self._total, self._done = progress, text, total, done
        self._lock = threading.Lock()
        self._told = time.monotonic()
        progress.emit(ProgressEvent("progress", text, done, total))

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._told < self.INTERVAL and self._done < self._total:
                return
            self._told = now
            event = ProgressEvent("progress", self._text, self._done, self._total)
        self._progress.emit(event)


class JsonProgress(Progress):
    """One JSON object a line: ``{"kind", "text", "done", "total"}``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def emit(self, event: ProgressEvent) -> None:
        with self._lock:
            print(json.dumps(asdict(event)), file=self._stream, flush=True)


class PlainProgress(Progress):
    """Lines for a log: every note, and a meter's state every five seconds and at its end."""

    INTERVAL = 5.0

    def __init__(self, stream: TextIO, prefix: str = "") -> None:
        self._stream, self._prefix = stream, prefix
        self._lock = threading.Lock()
        self._begun: dict[str, tuple[float, int]] = {}
        self._told: dict[str, float] = {}

    def emit(self, event: ProgressEvent) -> None:
        with self._lock:
            if event.kind == "note":
                line = event.text
            else:
                now = time.monotonic()
                begun, before = self._begun.setdefault(event.text, (now, event.done))
                told = self._told.setdefault(event.text, now)
                if event.done < event.total and now - told < self.INTERVAL:
                    return
                self._told[event.text] = now
                line = meter_line(event, now - begun, event.done - before)
            print(f"{self._prefix}{line}", file=self._stream, flush=True)


def meter_line(event: ProgressEvent, seconds: float, moved: int) -> str:
    """A meter as text: bytes, rate and time left. ``moved`` bytes took ``seconds`` in this run."""
    line = f"{event.text}: {format_bytes(event.done)} of {format_bytes(event.total)}"
    if seconds > 0.05 and moved:
        rate = moved / seconds
        line += f", {format_bytes(int(rate))}/s"
        if event.done < event.total:
            line += f", {format_seconds((event.total - event.done) / rate)} left"
    return line


def event_from_json(line: str) -> ProgressEvent | None:
    """The event that ``JsonProgress`` wrote on this line, or None when the line is something else."""
    try:
        value: Any = json.loads(line)
        return ProgressEvent(**value) if isinstance(value, dict) and value.get("kind") in ("note", "progress") else None
    except (ValueError, TypeError):
        return None
