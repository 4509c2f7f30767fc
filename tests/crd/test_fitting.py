"""Whatever the API server returns has the declared shape afterwards, and keeps all that was right."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crd.fitting import fit
from crd.kubernetes_objects import DeploymentObject, ModelObject, WorkflowObject
from crd.observe import status_of
from crd.workflow_nodes import read_run
from tests.crd.recorded_workflows import FOLDER, model, workflow

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_what_is_right_is_kept_whole() -> None:
    for path in FOLDER.glob("*.json"):
        found = workflow(path.stem)
        assert fit(copy.deepcopy(found), WorkflowObject) == found
    assert fit(model(), ModelObject) == model()


def test_a_part_of_a_wrong_type_is_absent() -> None:
    found = {
        "metadata": {"name": "m", "generation": True, "labels": {"a": 1, "b": "c"}},
        "spec": None,
        "status": [1],
        "more": 3,
    }
    assert fit(found, ModelObject) == {"metadata": {"name": "m", "labels": {"b": "c"}}, "spec": {}, "more": 3}
    found = {"metadata": {"name": "m"}, "status": {"conditions": [1, {"status": "True"}], "lastFailure": None}}
    assert fit(found, ModelObject)["status"] == {"conditions": [{"type": "", "status": "True"}], "lastFailure": None}
    assert fit({"metadata": {}}, DeploymentObject)["spec"]["template"]["spec"]["containers"] == []


@pytest.mark.parametrize("value", [None, [], "x", 7])
def test_what_is_no_object_is_an_empty_one(value: object) -> None:
    assert fit(value, ModelObject) == {"metadata": {"name": ""}, "spec": {}}


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A recorded Workflow, with anything in some places."""
    whole: Any = workflow(draw(st.sampled_from(sorted(path.stem for path in FOLDER.glob("*.json")))))
    for _ in range(draw(st.integers(1, 4))):
        place = whole
        while True:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            inner = place[key]
            if key != "metadata" and (not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 3)) == 0):
                place[key] = draw(ANYTHING)
                break
            place = inner
            if place is whole["metadata"]:
                place = whole
    return dict(whole)


@pytest.mark.fault("survived")
@settings(max_examples=100)
@given(damaged())
def test_damaged_workflows_are_read(found: dict[str, Any]) -> None:
    whole = fit(found, WorkflowObject)
    read_run(whole)
    status_of(model(), whole, "2026-11-23T23:00:00Z")


@pytest.mark.hard
@pytest.mark.fault("survived")
@settings(max_examples=5000, deadline=None)
@given(damaged())
def test_many_damaged_workflows_are_read(found: dict[str, Any]) -> None:
    status_of(model(), fit(found, WorkflowObject), "2026-11-23T23:00:00Z")
