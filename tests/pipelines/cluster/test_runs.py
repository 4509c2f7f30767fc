"""A Model and its Workflow become one run: its steps, whether it has ended, and why it failed."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.cluster.runs import Phase
from steps.core.errors import Reason
from tests.pipelines.cluster.objects import (
    FAILED,
    READY,
    REFUSED,
    RUNNING,
    STALLED,
    SUCCEEDED,
    model,
    node,
    run,
    step,
    workflow,
)


@pytest.mark.parametrize(
    ("model", "workflow", "phase"),
    [
        (model(), None, Phase.WAITING),
        (READY, None, Phase.SUCCEEDED),
        (STALLED, None, Phase.FAILED),
        (model(("Ready", "True", "Succeeded"), generation=2), None, Phase.WAITING),  # what it says is about the last spec
        (STALLED, RUNNING, Phase.RUNNING),  # a retry
        (STALLED, SUCCEEDED, Phase.SETTLING),  # a retry that the operator has not seen yet
        (model(), FAILED, Phase.SETTLING),
        (READY, SUCCEEDED, Phase.SUCCEEDED),
        (STALLED, FAILED, Phase.FAILED),
        (None, RUNNING, Phase.RUNNING),
        (None, workflow(""), Phase.RUNNING),  # just created
        (None, SUCCEEDED, Phase.SUCCEEDED),
        (None, workflow("Error"), Phase.FAILED),
    ],
)
def test_a_run_ends_with_workflow_and_model(model: Any, workflow: Any, phase: Phase) -> None:
    assert run(model, workflow).phase is phase


def test_a_run_whose_report_alone_failed_has_succeeded() -> None:
    nodes = [{**node("w", "DAG", "Succeeded"), "templateName": "ingest"}, *step("w.onExit", "Failed", ("Failed", ""))]
    assert run(None, workflow("Failed", *nodes)).phase is Phase.SUCCEEDED


def test_a_failure_comes_from_status_step_or_argo() -> None:
    nodes = step("w.fetch", "Failed", ("Failed", f"main: Error (exit code 10): {REFUSED}\n"))

    def failure(model: Any, workflow: Any) -> tuple[str, Reason]:
        found = run(model, workflow).failure
        assert found
        return found[0], found[1].reason

    assert failure(STALLED, workflow("Failed", *nodes)) == ("fetch", Reason.NOT_LFS)
    assert failure(None, workflow("Failed", *nodes)) == ("fetch", Reason.REVISION_NOT_FOUND)
    assert failure(None, workflow("Error", message="templates.fetch not found")) == ("", Reason.WORKFLOW_REFUSED)
    assert run(READY, SUCCEEDED).failure is None
    assert run(STALLED, RUNNING).failure is None


def test_an_unknown_reason_is_shown() -> None:
    newer = model(("Stalled", "True", "MoonPhase"), lastFailure={"step": "fetch", "reason": "MoonPhase", "message": "Full."})
    found = run(newer, None).failure
    assert found
    assert found[1].reason is Reason.INTERNAL_ERROR
    assert found[1].message == "MoonPhase: Full."
