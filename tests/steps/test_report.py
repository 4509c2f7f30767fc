"""The step: one page for a run, written again when the run changes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from steps.command.flags import parse_inputs
from steps.command.main import main
from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import execute, read_records, write_record
from steps.report import STEP, ReportInputs
from steps.store.local import LocalStore
from tests.steps.reporting.report_page import KEY, TEXT, change, failure, page, path, report
from tests.steps.reporting.sample_run import (
    RUN,
    SampleRun,
)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A context whose clock moves: a run that returns to an earlier state is told apart by the time."""
    return Context(store=LocalStore(tmp_path / "store"), scratch=tmp_path / "scratch")


def test_an_unknown_run_is_an_error(context: Context) -> None:
    with pytest.raises(SlipwayError, match="no record of a run 'harbour-1'") as caught:
        report(context)
    assert caught.value.reason is Reason.INVALID_INPUT


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc", "a\n", "-x"])
def test_a_run_named_like_a_path_is_refused(name: str) -> None:
    with pytest.raises(SlipwayError, match="--report-run"):
        parse_inputs(ReportInputs, {"report_run": name})


class BusyStore(LocalStore):
    """A store that is overloaded when it comes to documents."""

    def read(self, key: str) -> Iterator[bytes]:
        if not key.startswith("runs/"):
            raise SlipwayError(Reason.STORE_BUSY, f"{key}: try later")
        return super().read(key)


def test_a_busy_store_makes_no_report(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    busy = Context(store=BusyStore(path(context, "runs").parent), scratch=context.scratch)
    with pytest.raises(SlipwayError) as caught:
        report(busy)
    assert caught.value.reason is Reason.STORE_BUSY
    assert context.store.size(KEY) is None


def test_an_unchanged_run_is_reported_once(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    inputs = ReportInputs(report_run=RUN)
    first = execute(STEP, inputs, context, run=RUN)
    second = execute(STEP, inputs, context, run=RUN)
    assert not first.skipped
    assert second.skipped
    assert second.outputs == first.outputs
    assert first.receipt.objects == {KEY: sha256_bytes(page(context).html.encode())}


@pytest.mark.slow
def test_a_changing_run_has_the_newest_report(context: Context) -> None:
    run = SampleRun(context, [TEXT]).all()
    (good,) = [receipt for receipt in read_records(context, RUN) if receipt.step == "smoke"]
    bad = good.model_copy(update={"outputs": {}, "failure": failure(Reason.BOOT_FAILED)})
    for _ in range(3):
        for receipt, tone in ((good, "good"), (bad, "bad")):
            write_record(context, run.run, receipt)
            assert report(context).outcome()[0] == tone
            assert execute(STEP, ReportInputs(report_run=RUN), context).skipped


def test_a_changed_page_is_refused(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    report(context)
    change(path(context, KEY))
    with pytest.raises(SlipwayError) as caught:
        report(context)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_a_deleted_page_is_written_again(context: Context) -> None:
    SampleRun(context, [TEXT]).all()
    before = report(context).html
    path(context, KEY).unlink()
    assert report(context).html == before


def test_the_step_runs_as_a_program(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    SampleRun(context, [TEXT]).all()
    with pytest.raises(SystemExit) as ended:
        main(STEP, ["--report-run", RUN, "--store", context.store.uri, "--status", "Succeeded"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == {"report": KEY}
    assert "The workflow ended as “Succeeded”." in page(context).text
