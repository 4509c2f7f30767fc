"""EventBus, EventSource and Sensor: what each names is there, and a Workflow of theirs is as thin as everybody's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any, cast

import pytest

from crd.kubernetes_objects import Manifest, ModelObject
from crd.workflow import SPEC_PARAMETERS, thin_workflow
from pipelines.access import RULES
from pipelines.events import event_bus, event_source, events, read_event, sensor
from pipelines.names import EVENT_SOURCE_ACCOUNT, SENSOR_ACCOUNT
from steps.images.builders.supported import IN_CLUSTER, BuilderKind

# What `templateReferencing: Secure` lets a Workflow set beside the reference is more than this; nothing else is needed.
THIN = {"workflowTemplateRef", "arguments"}


def plain(manifest: Manifest) -> Any:
    """The manifest, for looking into it at any depth."""
    return manifest


def trigger() -> dict[str, Any]:
    (found,) = plain(sensor("slipway"))["spec"]["triggers"]
    assert isinstance(found, dict)
    return found


def test_the_bus_comes_first_and_the_source_last() -> None:
    assert [manifest["kind"] for manifest in events("slipway")] == ["EventBus", "Sensor", "EventSource"]


def test_sensor_and_source_name_the_same_event() -> None:
    source = plain(event_source("slipway"))
    (dependency,) = plain(sensor("slipway"))["spec"]["dependencies"]
    assert dependency["eventSourceName"] == source["metadata"]["name"]
    assert dependency["eventName"] in source["spec"]["resource"]
    assert {parameter["src"]["dependencyName"] for parameter in trigger()["template"]["k8s"]["parameters"]} == {
        dependency["name"]
    }


def test_names_keep_namespaces_apart() -> None:
    for make in (sensor, event_source):
        assert plain(make("here"))["metadata"]["name"] != plain(make("there"))["metadata"]["name"]
    (models,) = plain(event_source("here"))["spec"]["resource"].values()
    assert models["namespace"] == "here", "an empty namespace would watch, and need the right to, the whole cluster"


def test_a_bus_is_managed_unless_there_is_one() -> None:
    assert set(plain(event_bus())["spec"]) == {"jetstream"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", plain(event_bus())["spec"]["jetstream"]["version"]), "`latest` would move"
    assert plain(event_bus("nats://10.0.0.1:4222"))["spec"] == {"jetstreamExotic": {"url": "nats://10.0.0.1:4222"}}


def test_a_failed_creation_is_retried_a_few_times() -> None:
    assert trigger()["atLeastOnce"] is True, "without it the retry strategy does nothing"
    assert 1 < trigger()["retryStrategy"]["steps"] <= 5
    assert "dlqTrigger" not in trigger(), "a name that is taken is no failure"


def test_the_sensor_needs_no_more_than_its_right() -> None:
    k8s = trigger()["template"]["k8s"]
    assert RULES[SENSOR_ACCOUNT] == (("argoproj.io", "workflows", (k8s["operation"],)),)
    assert plain(sensor("slipway"))["spec"]["template"]["serviceAccountName"] == SENSOR_ACCOUNT
    assert plain(event_source("slipway"))["spec"]["template"]["serviceAccountName"] == EVENT_SOURCE_ACCOUNT


@pytest.mark.skipif(not shutil.which("jq"), reason="there is no jq")
@pytest.mark.parametrize(("builder", "wanted"), [(None, True), *((each.value, each in IN_CLUSTER) for each in BuilderKind)])
def test_local_builders_start_nothing(builder: str | None, wanted: bool) -> None:
    spec = {"services": ["ner"], "sourceKind": "upload", "source": "s3://models/x"} | ({"builder": builder} if builder else {})
    event = {"body": {"metadata": {"name": "a", "uid": "u", "generation": 1}, "spec": spec}, "oldBody": None}
    done = subprocess.run(["jq", read_event()], input=json.dumps(event), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["wanted"] is wanted


def test_everybodys_workflow_is_a_reference_and_arguments() -> None:
    spec: dict[str, Any] = dict.fromkeys(SPEC_PARAMETERS.values(), "x")
    model = {"metadata": {"name": "a", "uid": "u", "generation": 1, "namespace": "slipway"}, "spec": spec}
    assert set(thin_workflow(cast(ModelObject, model))["spec"]) == THIN
    assert set(trigger()["template"]["k8s"]["source"]["resource"]["spec"]) == THIN


@pytest.mark.parametrize("part", trigger()["template"]["k8s"]["parameters"], ids=lambda part: part["dest"])
def test_the_sensor_fills_what_its_workflow_leaves_open(part: dict[str, Any]) -> None:
    place = trigger()["template"]["k8s"]["source"]["resource"]
    for key in part["dest"].split("."):
        place = place[key]
    assert not place
