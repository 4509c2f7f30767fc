"""Watching a run ends when the run does, outlives short outages, and does not wait for what will never come."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.cluster.runs import ModelRun, Phase
from pipelines.cluster.watch import MAX_FAILED_READS, SETTLE_SECONDS, START_SECONDS, RunView, poll_run
from pipelines.display.json_lines import JsonView
from pipelines.display.lines import PlainView
from steps.core.errors import Reason, SlipwayError
from tests.conftest import FakeClock
from tests.pipelines.cluster.objects import FAILED, READY, REFUSED, STALLED, model, run, step, workflow

LOST = SlipwayError(Reason.NETWORK_UNREACHABLE, "Nobody answers.")


def looks(*seen: ModelRun | SlipwayError) -> Callable[[], ModelRun]:
    """What each look sees; the last one from then on."""
    rest = list(seen)

    def look() -> ModelRun:
        now = rest.pop(0) if len(rest) > 1 else rest[0]
        if isinstance(now, SlipwayError):
            raise now
        return now

    return look


def running(*nodes: Any) -> ModelRun:
    return run(None, workflow("Running", *nodes))


def test_each_change_is_one_line(clock: FakeClock) -> None:
    out = io.StringIO()
    begun = running(*step("w.fetch", "Running", ("Running", "")))
    failed = run(None, workflow("Failed", *step("w.fetch", "Failed", ("Failed", f"main: Error: {REFUSED}"))))
    ended = poll_run(looks(running(), begun, begun, failed), PlainView(out), clock)
    assert ended.phase is Phase.FAILED
    first, second, *rest = out.getvalue().splitlines()
    assert first == "… fetch: running"
    assert second == "✗ fetch: failed (5.0 s): RevisionNotFound"
    assert all(line.endswith(": not reached") for line in rest)
    assert len(clock.slept) == 3


def test_programs_get_changes_and_the_result(clock: FakeClock) -> None:
    out = io.StringIO()
    done = run(READY, workflow("Succeeded", *step("w.fetch", "Succeeded", ("Succeeded", ""))))
    poll_run(looks(running(*step("w.fetch", "Running", ("Running", ""))), done), JsonView(out), clock)
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events[0] == {"event": "node", "node": "fetch", "state": "running"}
    assert events[1] == {"event": "node", "node": "fetch", "state": "done"}
    assert (events[-1]["event"], events[-1]["phase"]) == ("result", "Succeeded")


def test_an_outage_is_waited_out_and_said_once(clock: FakeClock) -> None:
    out = io.StringIO()
    assert poll_run(looks(LOST, LOST, LOST, run(READY, None)), PlainView(out), clock).phase is Phase.SUCCEEDED
    assert out.getvalue() == "Nobody answers. Trying again …\n"


def test_an_outage_without_end_is_raised(clock: FakeClock) -> None:
    with pytest.raises(SlipwayError) as caught:
        poll_run(looks(LOST), RunView(), clock)
    assert caught.value is LOST
    assert len(clock.slept) == MAX_FAILED_READS


def test_a_missing_right_is_raised_at_once(clock: FakeClock) -> None:
    with pytest.raises(SlipwayError):
        poll_run(looks(SlipwayError(Reason.ACCESS_DENIED, "No.")), RunView(), clock)
    assert clock.slept == []


def test_a_run_that_never_starts_is_reported(clock: FakeClock) -> None:
    with pytest.raises(SlipwayError, match="No Workflow was started for m") as caught:
        poll_run(looks(run(model(), None)), RunView(), clock)
    assert caught.value.reason is Reason.MISSING_DEPENDENCY
    assert START_SECONDS <= sum(clock.slept) <= START_SECONDS + 2


def test_the_model_gets_time_to_follow_its_workflow(clock: FakeClock) -> None:
    assert poll_run(looks(run(model(), FAILED), run(STALLED, FAILED)), RunView(), clock).model is STALLED


def test_without_an_operator_the_workflows_word_is_taken(clock: FakeClock) -> None:
    out = io.StringIO()
    ended = poll_run(looks(run(model(), FAILED)), PlainView(out), clock)
    assert (ended.phase, ended.model) == (Phase.FAILED, None)
    assert "is the operator running?" in out.getvalue()
    assert SETTLE_SECONDS <= sum(clock.slept) <= SETTLE_SECONDS + 2
