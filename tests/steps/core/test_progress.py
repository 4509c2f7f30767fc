"""A meter's line: bytes that were there before a run are done, and say nothing about its rate."""

from __future__ import annotations

from steps.core.progress import ProgressEvent, meter_line
from tests.conftest import RecordedProgress


def test_the_rate_is_that_of_this_run(progress: RecordedProgress) -> None:
    meter = progress.meter("fetching", 200_000_000)
    meter.advance(150_000_000, before=True)
    meter.advance(50_000_000)
    last = progress.events[-1]
    assert (last.done, last.before) == (200_000_000, 150_000_000)
    assert "5.0 MB/s" in meter_line(last, 10.0)


def test_nothing_moved_has_no_rate() -> None:
    assert meter_line(ProgressEvent("progress", "fetching", 50, 100, 50), 10.0) == "fetching: 50 B of 100 B"
