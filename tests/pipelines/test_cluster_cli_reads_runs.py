"""A Model and its Workflow become one run: its steps, whether it has ended, and why it failed."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from crd.workflow import workflow_name
from pipelines.cluster.logs import heading, nodes_of, select_steps, step_lines
from pipelines.cluster.runs import ModelRun, Phase
from pipelines.cluster.steps import State, expected, steps_of
from pipelines.display.json_lines import describe_model, describe_run
from pipelines.display.tables import models_table, print_run
from steps.core.errors import Reason, SlipwayError

NOW = datetime(2026, 11, 23, 20, 1, 0, tzinfo=UTC)
SERVICE = "image-classification"
REFUSED = '{"reason":"RevisionNotFound","message":"There is no next\\u001b[2J.","hint":"Name a branch.","retryable":false}'


def node(name: str, kind: str, phase: str, *, children: tuple[str, ...] = (), message: str = "", service: str = "") -> Any:
    """A node of a Workflow as Argo 3.7 writes it; its name serves as its id."""
    template = name.rpartition(".")[2].partition("(")[0].replace("onExit", "report")
    return {
        "id": name,
        "name": name,
        "displayName": name,
        "type": kind,
        "templateName": template,
        "phase": phase,
        "message": message,
        "startedAt": "2026-11-23T20:00:00Z",
        "finishedAt": "2026-11-23T20:00:05Z" if phase in ("Succeeded", "Failed", "Error") else None,
        "children": list(children),
        "inputs": {"parameters": [{"name": "service", "value": service}] if service else []},
    }


def step(name: str, phase: str, *tries: tuple[str, str], service: str = "") -> list[Any]:
    """A step's Retry node, and a pod for each try's phase and message."""
    pods = [node(f"{name}({number})", "Pod", pod, message=said, service=service) for number, (pod, said) in enumerate(tries)]
    return [node(name, "Retry", phase, children=tuple(pod["id"] for pod in pods), service=service), *pods]


def workflow(phase: str, *nodes: Any, message: str = "", name: str = "w") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"arguments": {"parameters": [{"name": "services", "value": f'["{SERVICE}"]'}]}},
        "status": {"phase": phase, "message": message, "nodes": {each["id"]: each for each in nodes}},
    }


def model(*conditions: tuple[str, str, str], generation: int = 1, observed: int = 1, **status: Any) -> dict[str, Any]:
    """A stored Model with conditions given as type, status and reason."""
    return {
        "metadata": {"name": "m", "uid": "u", "generation": generation, "creationTimestamp": "2026-11-23T20:00:00Z"},
        "spec": {"services": [SERVICE]},
        "status": {
            "conditions": [
                {"type": kind, "status": state, "reason": reason, "message": "said", "observedGeneration": observed}
                for kind, state, reason in conditions
            ],
            **status,
        },
    }


def run(model: Any, workflow: Any) -> ModelRun:
    return ModelRun("m", workflow_name("u", 1), model, workflow)


READY = model(("Ready", "True", "Succeeded"))
STALLED = model(
    ("Ready", "False", "NotLfs"),
    ("Stalled", "True", "NotLfs"),
    lastFailure={"step": "fetch", "reason": "NotLfs", "message": "No LFS.", "hint": "Use it.", "retryable": False},
)
SUCCEEDED, FAILED, RUNNING = workflow("Succeeded"), workflow("Failed"), workflow("Running")


def test_every_step_is_listed_before_it_begins() -> None:
    names = [step.name for step in steps_of(None, [SERVICE])]
    assert names == list(expected([SERVICE]))
    assert names[:3] == ["fetch", "load", f"{SERVICE}/render"]
    assert names[-2:] == [f"{SERVICE}/smoke", "report"]


def test_a_step_of_a_branch_is_named_by_its_service_and_timed_by_its_pods() -> None:
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


def test_in_a_run_that_has_ended_nothing_waits_or_runs() -> None:
    stopped = workflow("Failed", *step("w.fetch", "Running", ("Failed", "Pod was terminated")))
    assert {step.state for step in steps_of(stopped, [SERVICE])} == {State.FAILED, State.NOT_REACHED}


def test_words_of_a_source_cannot_move_the_cursor() -> None:
    nodes = step("w.fetch", "Failed", ("Failed", f"main: Error (exit code 10): {REFUSED}\n"))
    out = io.StringIO()
    print_run(run(None, workflow("Failed", *nodes)), Console(file=out, width=120), NOW)
    assert "There is no next" in out.getvalue()
    assert "\x1b" not in out.getvalue()


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
def test_a_run_has_ended_when_its_workflow_and_its_model_say_so(model: Any, workflow: Any, phase: Phase) -> None:
    assert run(model, workflow).phase is phase


def test_a_run_whose_report_alone_failed_has_succeeded() -> None:
    nodes = [{**node("w", "DAG", "Succeeded"), "templateName": "ingest"}, *step("w.onExit", "Failed", ("Failed", ""))]
    assert run(None, workflow("Failed", *nodes)).phase is Phase.SUCCEEDED


def test_a_failure_is_the_operators_word_else_the_failed_steps_else_argos() -> None:
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


def test_a_reason_of_a_newer_version_is_shown_and_no_crash() -> None:
    newer = model(("Stalled", "True", "MoonPhase"), lastFailure={"step": "fetch", "reason": "MoonPhase", "message": "Full."})
    found = run(newer, None).failure
    assert found
    assert found[1].reason is Reason.INTERNAL_ERROR
    assert found[1].message == "MoonPhase: Full."


def test_the_table_says_of_each_model_what_matters() -> None:
    short = describe_model({**STALLED, "status": {**STALLED["status"], "revision": "f" * 40}}, NOW)
    assert short == {"name": "m", "ready": "False", "reason": "NotLfs", "revision": "f" * 40, "ageSeconds": 60}
    assert describe_model(model(), NOW)["ready"] == "Unknown"
    out = io.StringIO()
    Console(file=out, width=120).print(models_table([READY, STALLED], NOW))
    head, ready, stalled = out.getvalue().splitlines()
    assert head.split() == ["name", "ready", "reason", "revision", "age"]
    assert ready.split() == ["m", "True", "Succeeded", "60", "s"]
    assert stalled.split() == ["m", "False", "NotLfs", "60", "s"]


def test_a_run_in_full_names_digests_steps_and_the_hint() -> None:
    made = {"task": SERVICE, "archive": "archives/a.tar.gz", "archiveDigest": "sha256:aa", "image": "slipway/m:1"}
    status = {**STALLED["status"], "services": [made], "setDigest": "sha256:bb", "report": "runs/w/report.html"}
    nodes = [
        *step("w.fetch", "Failed", ("Failed", "OOMKilled"), ("Failed", f"main: Error: {REFUSED}")),
        *step("w.onExit", "Succeeded", ("Succeeded", "")),
    ]
    full = run({**STALLED, "status": status}, workflow("Failed", *nodes))
    out = io.StringIO()
    print_run(full, Console(file=out, width=120), NOW)
    text = out.getvalue()
    for part in ("sha256:aa", "sha256:bb", "(planned, not built)", "runs/w/report.html", "try 2, RevisionNotFound", "Use it."):
        assert part in text
    described = json.loads(json.dumps(describe_run(full, NOW)))
    assert described["phase"] == "Failed"
    assert described["failure"]["step"] == "fetch"
    assert [each["state"] for each in described["steps"]][:2] == ["failed", "not reached"]


def test_logs_come_in_the_order_in_which_steps_began_and_a_wrong_name_lists_the_right_ones() -> None:
    late = node("w.load", "Retry", "Succeeded", children=("w.load(0)",))
    pod = {**node("w.load(0)", "Pod", "Succeeded"), "startedAt": "2026-11-23T19:00:00Z"}
    found = run(None, workflow("Running", *step("w.fetch", "Succeeded", ("Succeeded", "")), late, pod))
    assert [step.name for step in select_steps(found, "")][:2] == ["load", "fetch"]
    assert [step.name for step in select_steps(found, "fetch")] == ["fetch"]
    with pytest.raises(SlipwayError, match="no step fetsch") as caught:
        select_steps(found, "fetsch")
    assert f"fetch, load, {SERVICE}/render" in caught.value.hint


def test_each_try_is_found_and_headed_by_its_number() -> None:
    nodes = [
        *step(f"w.service(0:{SERVICE}).smoke", "Succeeded", ("Failed", ""), ("Succeeded", ""), service=SERVICE),
        *step("w.service(1:ner).smoke", "Succeeded", ("Succeeded", ""), service="ner"),
    ]
    done = workflow("Succeeded", *nodes)
    smoke = next(step for step in steps_of(done, [SERVICE]) if step.name == f"{SERVICE}/smoke")
    assert [each["id"] for each in nodes_of(done, smoke)] == [f"w.service(0:{SERVICE}).smoke({number})" for number in (0, 1)]
    assert heading(smoke, 1) == f"── {SERVICE}/smoke, try 1 of 2: failed ──"
    assert heading(smoke, 2) == f"── {SERVICE}/smoke, try 2 of 2: done ──"


def test_what_argos_executor_says_is_no_word_of_the_step() -> None:
    lines = [
        "Fetching.",
        'time="2026-11-23T21:30:31.718Z" level=info msg="sub-process exited" argo=true',
        "Error: exit status 10",
    ]
    assert step_lines(lines) == ["Fetching."]
