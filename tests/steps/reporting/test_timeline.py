"""The chart of when each step ran."""

from __future__ import annotations

import pytest

from steps.core.contract import Context
from steps.core.receipts import read_records
from steps.reporting.timeline import timeline
from tests.steps.reporting.sample_run import RUN, SampleRun

TEXT = "text-classification"


def test_long_idle_times_are_left_out(context: Context) -> None:
    run = SampleRun(context, [TEXT])
    run.fetch()
    run.pause(3 * 3600)
    run.load()
    run.pause(5)
    run.render(TEXT)
    found = timeline(read_records(context, RUN))
    fetch, load, render = found.rows
    assert found.idle_text == "3 h"
    assert fetch.left == 0
    assert fetch.width + 3 < load.left < fetch.width + 5
    assert load.left + load.width < render.left
    assert render.left + render.width == pytest.approx(100, abs=0.01)
    assert fetch.left + fetch.width < found.breaks[0] < load.left
    assert [tick.text for tick in found.ticks if not tick.text.startswith("+")] == ["14:03:11", "17:03:20"]
