"""The logs of a run: which steps, which attempts, which lines."""

from __future__ import annotations

import pytest

from pipelines.cluster.logs import heading, nodes_of, select_steps, step_lines
from pipelines.cluster.steps import steps_of
from steps.core.errors import SlipwayError
from tests.pipelines.cluster.objects import SERVICE, node, run, step, workflow


def test_steps_are_selected_by_start_or_name() -> None:
    late = node("w.load", "Retry", "Succeeded", children=("w.load(0)",))
    pod = {**node("w.load(0)", "Pod", "Succeeded"), "startedAt": "2026-11-23T19:00:00Z"}
    found = run(None, workflow("Running", *step("w.fetch", "Succeeded", ("Succeeded", "")), late, pod))
    assert [step.name for step in select_steps(found, "")][:2] == ["load", "fetch"]
    assert [step.name for step in select_steps(found, "fetch")] == ["fetch"]
    with pytest.raises(SlipwayError, match="no step fetsch") as caught:
        select_steps(found, "fetsch")
    assert f"fetch, load, {SERVICE}/render" in caught.value.hint


def test_each_attempt_has_its_heading() -> None:
    nodes = [
        *step(f"w.service(0:{SERVICE}).smoke", "Succeeded", ("Failed", ""), ("Succeeded", ""), service=SERVICE),
        *step("w.service(1:ner).smoke", "Succeeded", ("Succeeded", ""), service="ner"),
    ]
    done = workflow("Succeeded", *nodes)
    smoke = next(step for step in steps_of(done, [SERVICE]) if step.name == f"{SERVICE}/smoke")
    assert [each["id"] for each in nodes_of(done, smoke)] == [f"w.service(0:{SERVICE}).smoke({number})" for number in (0, 1)]
    assert heading(smoke, 1) == f"── {SERVICE}/smoke, try 1 of 2: failed ──"
    assert heading(smoke, 2) == f"── {SERVICE}/smoke, try 2 of 2: done ──"


def test_lines_of_the_executor_are_left_out() -> None:
    lines = [
        "Fetching.",
        'time="2026-11-23T21:30:31.718Z" level=info msg="sub-process exited" argo=true',
        "Error: exit status 10",
    ]
    assert step_lines(lines) == ["Fetching."]
