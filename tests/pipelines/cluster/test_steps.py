"""The steps of a run, each with its state and its time."""

from __future__ import annotations

import pytest

from pipelines.cluster.steps import State, expected, steps_of
from steps.core.errors import Reason
from tests.pipelines.cluster.objects import NOW, REFUSED, SERVICE, step, workflow


def test_every_step_is_listed_before_it_begins() -> None:
    names = [step.name for step in steps_of(None, [SERVICE])]
    assert names == list(expected([SERVICE]))
    assert names[:3] == ["fetch", "load", f"{SERVICE}/render"]
    assert names[-2:] == [f"{SERVICE}/smoke", "report"]


def test_a_service_step_has_name_and_time() -> None:
    nodes = [
        *step("w.fetch", "Succeeded", ("Succeeded", "")),
        *step(f"w.service(0:{SERVICE}).smoke", "Running", ("Running", ""), service=SERVICE),
    ]
    found = {step.name: step for step in steps_of(workflow("Running", *nodes), [SERVICE])}
    assert found["fetch"].state is State.DONE
    assert found["fetch"].seconds(NOW) == 5
    assert found[f"{SERVICE}/smoke"].state is State.RUNNING
    assert found[f"{SERVICE}/smoke"].seconds(NOW) == 60
    assert found["report"].state is State.WAITING


@pytest.mark.parametrize(
    ("phase", "tries", "state", "reason"),
    [
        ("Running", [("Pending", "")], State.STARTING, None),
        ("Running", [("Pending", 'ErrImagePull: not found "x"')], State.STARTING, Reason.IMAGE_UNAVAILABLE),
        ("Running", [("Failed", "OOMKilled (exit code 137)")], State.RETRYING, Reason.OUT_OF_MEMORY),
        ("Running", [("Failed", "OOMKilled (exit code 137)"), ("Running", "")], State.RUNNING, None),
        ("Failed", [("Failed", f"main: Error (exit code 10): {REFUSED}\n")], State.FAILED, Reason.REVISION_NOT_FOUND),
        ("Succeeded", [("Failed", "OOMKilled (exit code 137)"), ("Succeeded", "")], State.DONE, None),
    ],
)
def test_a_step_is_what_its_last_try_says(
    phase: str, tries: list[tuple[str, str]], state: State, reason: Reason | None
) -> None:
    fetch = steps_of(workflow("Running", *step("w.fetch", phase, *tries)), [SERVICE])[0]
    assert (fetch.state, fetch.tries, fetch.failure and fetch.failure.reason) == (state, len(tries), reason)


def test_nothing_runs_in_an_ended_run() -> None:
    stopped = workflow("Failed", *step("w.fetch", "Running", ("Failed", "Pod was terminated")))
    assert {step.state for step in steps_of(stopped, [SERVICE])} == {State.FAILED, State.NOT_REACHED}
