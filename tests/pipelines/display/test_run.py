"""The display of a run: plain lines, JSON lines, a live line in a terminal, and the final table with digests."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from pipelines.display.bars import LiveDisplay
from pipelines.display.json_lines import JsonDisplay, describe_outcome
from pipelines.display.lines import PlainDisplay, resume_note
from pipelines.display.tables import print_failure, print_outcome
from pipelines.local import Observer, Outcome
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import Failure, Receipt
from steps.store.local import LocalStore
from tests.pipelines.conftest import Ingested

NODES = ("fetch", "load", "ner/smoke")


def receipt(node: str, reason: Reason | None = None) -> Receipt:
    service, _, step = node.rpartition("/")
    failure = Failure.from_error(SlipwayError(reason, "Something is wrong.")) if reason else None
    return Receipt(
        step=step,
        service=service,
        inputs={},
        started="2026-01-01T00:00:00+00:00",
        seconds=1.0,
        cpu_seconds=1.0,
        failure=failure,
    )


def story(observer: Observer) -> None:
    """Report a step that is done, one that was done before, and one that fails, as the runner does."""
    observer.begin("tiny-1", NODES, [receipt("fetch"), receipt("load", Reason.SOURCE_BUSY)])
    observer.changed("fetch", "running")
    observer.progress("fetch").note("Fetching [bold]one[/bold] \x1b[31mmodel.")
    meter = observer.progress("fetch").meter("fetching", 2_000_000)
    meter.advance(2_000_000)
    observer.changed("fetch", "done")
    observer.changed("load", "running")
    observer.changed("load", "skipped")
    observer.changed("ner/smoke", "running")
    observer.changed("ner/smoke", "failed")


def test_plain_lines_name_node_and_state() -> None:
    stream = io.StringIO()
    story(PlainDisplay(stream))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Going on where the last run stopped, in load (SourceBusy). Done so far: fetch."
    assert lines[1] == "  fetch: Fetching [bold]one[/bold] �[31mmodel."
    assert lines[2].startswith("  fetch: fetching: 2.0 MB of 2.0 MB")
    assert [line.split(" (")[0] for line in lines[3:]] == [
        "✓ fetch: done",
        "= load: done before, checked",
        "✗ ner/smoke: failed",
    ]


def test_json_lines_are_one_object_each() -> None:
    stream = io.StringIO()
    story(JsonDisplay(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert events[0] == {
        "event": "begin",
        "run": "tiny-1",
        "nodes": list(NODES),
        "message": "Going on where the last run stopped, in load (SourceBusy). Done so far: fetch.",
    }
    assert [event["event"] for event in events] == ["begin", "node", "note", "progress", "progress", *["node"] * 5]
    assert events[4] == {
        "event": "progress",
        "node": "fetch",
        "text": "fetching",
        "done": 2_000_000,
        "before": 0,
        "total": 2_000_000,
    }
    assert [(event["node"], event["state"]) for event in events if event["event"] == "node"][-1] == ("ner/smoke", "failed")


def test_the_live_display_restores_the_cursor() -> None:
    stream = io.StringIO()
    story(LiveDisplay(Console(file=stream, force_terminal=True, width=100, color_system=None)))
    text = stream.getvalue()
    for words in ("tiny-1", "Going on where", "Fetching [bold]one[/bold]", "✓ fetch", "= load", "✗ ner/smoke"):
        assert words in text
    assert "\x1b[31mmodel" not in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ([], ""),
        ([receipt(node) for node in NODES], ""),
        ([receipt("fetch")], "Going on where the last run stopped, before load. Done so far: fetch."),
        (
            [receipt("fetch", Reason.INTERRUPTED)],
            "Going on where the last run stopped, in fetch (Interrupted). Done so far: nothing.",
        ),
    ],
)
def test_a_resumed_run_names_its_step(before: list[Receipt], said: str) -> None:
    assert resume_note(NODES, before) == said


def printed(outcome: Outcome, run: Ingested) -> str:
    stream = io.StringIO()
    print_outcome(outcome, LocalStore(run.store), Console(file=stream, width=120))
    return stream.getvalue()


@pytest.mark.slow
def test_the_table_has_nodes_and_digests(classifier_run: Ingested) -> None:
    outcome = classifier_run.outcome
    text = printed(outcome, classifier_run)
    for node in outcome.nodes:
        assert f"\n{node} " in text
    assert f"sha256:{outcome.receipts['fetch'].outputs['set_digest']}\n" in text
    for service in classifier_run.model.spec.services:
        outputs = outcome.receipts[f"{service}/archive"].outputs
        assert f"sha256:{outputs['archive_digest']}\n" in text
        assert f"slipway serve {classifier_run.store / outputs['archive']}\n" in text
        assert f"{outcome.receipts[f'{service}/build'].outputs['image']} (planned, not built)" in text
    assert f"{outcome.report}\n" in text
    assert "Nothing to do" not in text


@pytest.mark.slow
def test_unreached_nodes_are_shown(classifier_run: Ingested) -> None:
    whole = classifier_run.outcome
    error = SlipwayError(Reason.LOAD_FAILED, "It does not load.")
    broken = Outcome(whole.run, whole.nodes, {"fetch": whole.receipts["fetch"]}, set(), {"load": error})
    text = printed(broken, classifier_run)
    assert "LoadFailed" in text
    assert text.count("not reached") == len(whole.nodes) - 2
    document = describe_outcome(broken, LocalStore(classifier_run.store))
    assert document["services"] == {}
    assert document["failures"]["load"]["reason"] == "LoadFailed"
    assert not document["nothingToDo"]


@pytest.mark.slow
def test_the_json_result_has_digests_and_locations(classifier_run: Ingested) -> None:
    document = json.loads(json.dumps(describe_outcome(classifier_run.outcome, LocalStore(classifier_run.store))))
    assert document["setDigest"] == f"sha256:{classifier_run.outcome.receipts['fetch'].outputs['set_digest']}"
    assert set(document["services"]) == set(classifier_run.model.spec.services)
    for made in document["services"].values():
        assert made["archiveDigest"].startswith("sha256:")
        assert made["archive"].startswith(str(classifier_run.store))
        assert made["archiveBytes"] > 0
        assert made["latencyMs"] >= 0


@pytest.mark.parametrize(
    ("reason", "passes"), [(Reason.SOURCE_BUSY, True), (Reason.INTERRUPTED, False), (Reason.LOAD_FAILED, False)]
)
def test_a_failure_has_reason_and_hint(reason: Reason, passes: bool) -> None:
    stream = io.StringIO()
    failure = Failure.from_error(SlipwayError(reason, "Wrong: [bold]x[/bold].", hint="Do [this]."))
    print_failure(failure, Console(file=stream, width=100), node="fetch")
    text = stream.getvalue()
    assert f"error in fetch: {reason}" in text
    assert "Wrong: [bold]x[/bold]." in text
    assert "hint: Do [this]." in text
    assert ("This is transient" in text) is passes
