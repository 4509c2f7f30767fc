"""What the Sensor asks of a Model in jq, and what ``crd.types`` asks: the same verdict on every Model."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from pydantic import ValidationError

from crd.types import Model
from pipelines.admission import accepts
from pipelines.events import read_event
from tests.crd.model_objects import changed_once, right

pytestmark = [
    pytest.mark.skipif(not shutil.which("jq"), reason="there is no jq"),
    pytest.mark.fault("refused"),
]


def answers(program: str, *values: Any) -> list[Any]:
    """What jq makes of each value."""
    text = "\n".join(json.dumps(value) for value in values)
    done = subprocess.run(["jq", "-c", program], input=text, capture_output=True, text=True, check=True, timeout=100)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(values)
    return found


def is_model(body: dict[str, Any]) -> bool:
    try:
        Model.model_validate(body)
    except ValidationError:
        return False
    return True


def stored(body: dict[str, Any]) -> bool:
    """Whether the API server could have stored it: it lets no unknown field and no other kind through, whatever the schema."""
    known = {"apiVersion": "slipway.dev/v1alpha1", "kind": "Model"}
    metadata = body.get("metadata")
    return (
        all(body.get(key) == value for key, value in known.items())
        and isinstance(metadata, dict)
        and set(body) <= {*known, "metadata", "spec"}
        and set(metadata) <= {"name", "labels"}
        and isinstance(metadata.get("labels", {}), dict)
        and (not isinstance(body.get("spec"), dict) or set(body["spec"]) <= set(right()["spec"]))
        and "\x00" not in json.dumps(body)
    )


@pytest.mark.slow
def test_both_agree_on_any_changed_model() -> None:
    bodies = [body for body in changed_once() if stored(body)]
    assert len(bodies) > 1000
    found = answers(accepts(), *bodies)
    wrong = [(body, verdict) for body, verdict in zip(bodies, found, strict=True) if verdict is not is_model(body)]
    assert wrong == []


ODD: list[dict[str, Any]] = [
    {"spec": None},
    {"spec": "x"},
    {"spec": [1]},
    {"spec": {}},
    {"spec": right(source="http://user:s%65cr%65t@h/a")["spec"]},
    {"spec": right(services=7)["spec"]},
    {"spec": right(revision="a\nb")["spec"]},
    {"spec": right(source="https://h/a\n")["spec"]},
    {"spec": right(source="https://h/{{=1+1}}")["spec"]},
    {"metadata": {"name": "a.b", "uid": "u", "generation": 1}},
]


def test_nothing_odd_reaches_a_workflow() -> None:
    good = {"metadata": {"name": "m", "uid": "u", "generation": 1}, "spec": right(builder="plan")["spec"]}
    fine, *events = [{"body": {**good, **odd}, "oldBody": None} for odd in [{}, *ODD]]
    assert answers(read_event(), fine)[0]["wanted"] is True
    assert answers(read_event(), *events) == [{"wanted": False}] * len(events)


@pytest.mark.parametrize(("status", "wanted"), [([1], True), ("x", True), (None, True), ({"finishedGeneration": "2"}, True)])
def test_an_odd_status_counts_as_none(status: Any, wanted: bool) -> None:
    body = {"metadata": {"name": "m", "uid": "u", "generation": 1}, "spec": right(builder="plan")["spec"], "status": status}
    assert answers(read_event(), {"body": body, "oldBody": None})[0]["wanted"] is wanted
    body["status"] = {"finishedGeneration": 1}
    assert answers(read_event(), {"body": body, "oldBody": None}) == [{"wanted": False}]
