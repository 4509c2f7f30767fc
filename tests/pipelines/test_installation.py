"""What ``slipway install`` and ``slipway submit`` send: the manifests, moved and ordered, and no earlier decision undone."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from crd.kubernetes_client import DEFAULT_NAMESPACE, encode_manifest
from crd.resource_kinds import EVENT_SOURCE, SENSOR
from pipelines import manifests as rendering
from pipelines.installation import (
    LISTENS,
    NO_NAMESPACE,
    Choices,
    manifests,
    with_registry,
)
from pipelines.names import EVENT_BUS
from steps.core.errors import Reason, SlipwayError
from tests.pipelines.empty_cluster import empty


def kinds(namespace: str = "here") -> list[str]:
    return [each["kind"] for each in manifests(namespace, None)]


@pytest.mark.slow
def test_what_is_rendered_is_what_is_installed() -> None:
    """In the default namespace, every checked-in manifest is installed as it is, and only the CRD besides."""
    rendered: Any = [each for documents in rendering.files().values() for each in documents]
    installed: Any = manifests(DEFAULT_NAMESPACE, None)
    names = {(each["kind"], each["metadata"]["name"]) for each in installed}
    assert names - {(each["kind"], each["metadata"]["name"]) for each in rendered} <= {
        ("CustomResourceDefinition", "models.slipway.dev")
    }
    specs = {(each["kind"], each["metadata"]["name"]): each.get("spec") for each in installed}
    for each in rendered:
        if each["kind"] != "WorkflowTemplate":
            assert specs[each["kind"], each["metadata"]["name"]] == each.get("spec")


def test_each_kind_comes_after_what_it_needs() -> None:
    order = kinds()
    for first, second in (
        ("Namespace", "ServiceAccount"),
        ("CustomResourceDefinition", "EventSource"),
        ("ServiceAccount", "RoleBinding"),
        ("Role", "RoleBinding"),
        ("ConfigMap", "WorkflowTemplate"),
        ("WorkflowTemplate", "Sensor"),
        ("EventBus", "Sensor"),
        ("Sensor", "EventSource"),
    ):
        assert max(i for i, kind in enumerate(order) if kind == first) < order.index(second), (first, second)


def test_everything_is_in_the_namespace_that_was_named() -> None:
    installed: Any = manifests("here", None)
    for each in installed:
        if each["kind"] == "Namespace":
            assert each["metadata"]["name"] == "here"
        elif each["kind"] not in NO_NAMESPACE:
            assert each["metadata"]["namespace"] == "here"
        for subject in each.get("subjects", ()):
            assert subject["namespace"] == "here"
        if each["kind"] == "EventSource":
            assert [models["namespace"] for models in each["spec"]["resource"].values()] == ["here"]


def test_a_bus_that_is_there_is_used() -> None:
    installed: Any = manifests("here", "nats://10.0.0.1:4222")
    (bus,) = [each for each in installed if each["kind"] == "EventBus"]
    assert bus["spec"] == {"jetstreamExotic": {"url": "nats://10.0.0.1:4222"}}
    assert bus["metadata"]["name"] == EVENT_BUS


def images(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["image"]] if isinstance(value.get("image"), str) else []
        return own + [image for item in value.values() for image in images(item)]
    return [image for item in value for image in images(item)] if isinstance(value, list) else []


def test_the_registry_applies_to_own_images() -> None:
    template = next(each for each in manifests("here", None) if each["kind"] == "WorkflowTemplate")
    before, after = images(template), images(with_registry(template, "registry.example:5000/team"))
    assert before
    assert after == [f"registry.example:5000/team/{image}" for image in before]
    other = {"containers": [{"image": "nats:2"}, {"image": "example.org/slipway/light:1"}, {"name": "slipway/light:1"}]}
    assert with_registry(other, "r") == other
    assert with_registry(template, "") == template


def test_flags_are_read() -> None:
    choices = Choices.parse(["A=b=c", "D="], store="gs://b/p", event_bus_url="nats://h:4222", registry="r.example/")
    assert choices == Choices({"A": "b=c", "D": "", "SLIPWAY_STORE": "gs://b/p"}, "nats://h:4222", "r.example")
    assert Choices.parse([], store="", event_bus_url="", registry=None) == Choices()
    assert Choices.parse([], store="s3://b", event_bus_url="", registry=None) == Choices({"SLIPWAY_STORE": "s3://b"})


@pytest.mark.parametrize(
    ("pairs", "url"),
    [(["A"], ""), (["=b"], ""), (["A-B=c"], ""), ([], "http://h")],
)
def test_flags_that_cannot_be_meant_are_refused(pairs: list[str], url: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        Choices.parse(pairs, store="", event_bus_url=url, registry=None)
    assert caught.value.reason is Reason.INVALID_INPUT


@pytest.mark.slow
def test_the_event_source_waits_for_the_sensor() -> None:
    cluster = empty(listens=7)
    said = cluster.install(timeout=300)
    assert (cluster.applied[SENSOR.kind], cluster.applied[EVENT_SOURCE.kind]) == (0, 7)
    assert said.index("Sensor here-models: has subscribed") < said.index("EventSource here-models: created")
    assert said[-1] == "Everything is ready."


def test_a_silent_sensor_is_given_up() -> None:
    cluster = empty(listens=1000)
    assert "Sensor here-models: does not log that it has subscribed" in cluster.install(timeout=300)
    assert cluster.applied[EVENT_SOURCE.kind] == LISTENS


@pytest.mark.slow
def test_nothing_is_waited_for_without_need() -> None:
    cluster = empty(listens=1000)
    cluster.install(timeout=0)
    assert not cluster.clock.slept
    before = cluster.applied[EVENT_SOURCE.kind]
    assert not any("subscribed" in line for line in cluster.install(timeout=300))
    assert cluster.applied[EVENT_SOURCE.kind] == before


@given(some.text(some.characters(exclude_categories=["Cs"])))
def test_what_is_applied_is_yaml_whatever_it_holds(text: str) -> None:
    """The API server reads it as YAML, which takes no surrogates: JSON's escapes will not do for an emoji."""
    for value in (text, "\U0001f600 \\ud83d\\ude00 \u2028 \x85 \ufeff \x7f"):
        assert yaml.safe_load(encode_manifest({"name": value})) == {"name": value}
