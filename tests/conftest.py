"""What most tests stand on: a context whose clock does not wait and whose progress is kept, and a forge on loopback."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.demo.forge import Forge
from steps.core.contract import Context
from steps.core.progress import Progress, ProgressEvent
from steps.store.local import LocalStore

# Of the tests' models a second thread finishes nothing sooner; threads that wait for each other take all cores for it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


class FakeClock:
    """Stands still unless somebody sleeps: then it jumps, at once. ``slept`` holds the naps, in seconds."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 20, 0, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)


@dataclass
class RecordedProgress(Progress):
    """Keeps what it is told; ``then`` is called with each event and may raise, as Ctrl-C does."""

    events: list[ProgressEvent] = field(default_factory=list)
    then: Callable[[ProgressEvent], None] = lambda event: None

    def emit(self, event: ProgressEvent) -> None:
        self.events.append(event)
        self.then(event)

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if event.kind == "note"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def progress() -> RecordedProgress:
    return RecordedProgress()


@pytest.fixture
def context(tmp_path: Path, clock: FakeClock, progress: RecordedProgress) -> Context:
    """A step's context over the empty local store ``tmp_path/store``."""
    store = LocalStore(tmp_path / "store")
    return Context(store=store, scratch=store.scratch, clock=clock, progress=progress)


@pytest.fixture
def forge_root(tmp_path: Path) -> Path:
    """Where ``publish`` puts repositories and a forge finds them."""
    return tmp_path / "forge"


@pytest.fixture
def forge(forge_root: Path) -> Iterator[Forge]:
    with Forge(forge_root) as forge:
        yield forge
