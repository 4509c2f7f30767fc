"""What ``slipway install`` and ``slipway submit`` send: the manifests, moved and ordered, and no earlier decision undone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from crd.kubernetes_client import DEFAULT_NAMESPACE, KubernetesClient, encode_manifest
from crd.manifest import parse_manifest
from crd.resource_kinds import CONFIG_MAP, DEPLOYMENT, EVENT_SOURCE, SENSOR, AnyKind, kind_of
from crd.workflow import TEMPLATE
from pipelines import manifests as rendering
from pipelines.cluster.readiness import SUBSCRIBED
from pipelines.commands.submit import adhoc_workflow, check_reachable, namespace_of, resource
from pipelines.installation import (
    LISTENS,
    NO_NAMESPACE,
    Choices,
    install_manifests,
    manifests,
    with_registry,
    with_settings,
)
from pipelines.names import EVENT_BUS, REGISTRY_ANNOTATION, SETTINGS
from steps.core.errors import Reason, SlipwayError
from tests.conftest import FakeClock
from tests.pipelines.conftest import manifest

MODEL = parse_manifest(manifest("tiny", "https://example.org/tiny.git", "ner", revision="main"), "model.yaml")


def kinds(namespace: str = "here") -> list[str]:
    return [each["kind"] for each in manifests(namespace, None)]


def test_what_is_rendered_is_what_is_installed() -> None:
    """In the default namespace, every checked-in manifest is installed as it is, and only the CRD besides."""
    rendered = [each for documents in rendering.files().values() for each in documents]
    installed = manifests(DEFAULT_NAMESPACE, None)
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
    for each in manifests("here", None):
        if each["kind"] == "Namespace":
            assert each["metadata"]["name"] == "here"
        elif each["kind"] not in NO_NAMESPACE:
            assert each["metadata"]["namespace"] == "here"
        for subject in each.get("subjects", ()):
            assert subject["namespace"] == "here"
        if each["kind"] == "EventSource":
            assert [models["namespace"] for models in each["spec"]["resource"].values()] == ["here"]


def test_a_bus_that_is_there_is_used() -> None:
    (bus,) = [each for each in manifests("here", "nats://10.0.0.1:4222") if each["kind"] == "EventBus"]
    assert bus["spec"] == {"jetstreamExotic": {"url": "nats://10.0.0.1:4222"}}
    assert bus["metadata"]["name"] == EVENT_BUS


def images(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["image"]] if isinstance(value.get("image"), str) else []
        return own + [image for item in value.values() for image in images(item)]
    return [image for item in value for image in images(item)] if isinstance(value, list) else []


def test_a_registry_goes_before_slipways_own_images_and_no_others() -> None:
    template = next(each for each in manifests("here", None) if each["kind"] == "WorkflowTemplate")
    before, after = images(template), images(with_registry(template, "registry.example:5000/team"))
    assert before
    assert after == [f"registry.example:5000/team/{image}" for image in before]
    other = {"containers": [{"image": "nats:2"}, {"image": "example.org/slipway/light:1"}, {"name": "slipway/light:1"}]}
    assert with_registry(other, "r") == other
    assert with_registry(template, "") == template


def test_settings_that_are_there_stay_unless_they_are_named_again() -> None:
    existing = {"data": {"SLIPWAY_STORE": "gs://mine", "EXTRA": "1", "KEPT": "2"}}
    merged = with_settings(rendering.settings(), existing, {"EXTRA": "3"}, "r")
    assert merged["data"] == {**rendering.settings()["data"], "SLIPWAY_STORE": "gs://mine", "EXTRA": "3", "KEPT": "2"}
    assert merged["metadata"]["annotations"] == {REGISTRY_ANNOTATION: "r"}
    assert with_settings(rendering.settings(), {}, {}, "")["data"] == rendering.settings()["data"]


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


@dataclass(frozen=True)
class Empty(KubernetesClient):
    """A cluster with Argo and nothing else, where all is ready at once; but the Sensor listens after ``listens`` seconds."""

    clock: FakeClock = field(default_factory=FakeClock)
    listens: float = 0
    objects: dict[tuple[AnyKind, str], dict[str, Any]] = field(default_factory=dict)
    applied: dict[str, float] = field(default_factory=dict)  # when the last object of each kind was

    def serves(self, kind: AnyKind) -> bool:
        return True

    def find(self, kind: AnyKind, name: str) -> dict[str, Any] | None:
        return self.objects.get((kind, name))

    def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        kind, name = kind_of(manifest), manifest["metadata"]["name"]
        conditions = [{"type": "Established", "status": "True"}]
        numbers = dict.fromkeys(("observedGeneration", "replicas", "updatedReplicas", "availableReplicas"), 1)
        metadata = {**manifest["metadata"], "generation": 1, "resourceVersion": "1"}
        self.objects[kind, name] = {**manifest, "metadata": metadata, "status": {"conditions": conditions, **numbers}}
        self.applied[kind.kind] = self.clock.monotonic()
        return self.objects[kind, name]

    def list_objects(self, kind: AnyKind, *, labels: str = "", all_namespaces: bool = False) -> list[dict[str, Any]]:
        if kind == DEPLOYMENT:
            return [found for (each, _), found in self.objects.items() if each == kind]
        return [{"metadata": {"name": "sensor"}}] if labels == "sensor-name=here-models" else []

    def read_log(self, pod: str) -> list[str]:
        return [f'{{"msg":"{SUBSCRIBED} default.here-models.model"}}'] if self.clock.monotonic() >= self.listens else ["…"]

    def install(self, timeout: float, **settings: str) -> list[str]:
        said: list[str] = []
        install_manifests(self, Choices(settings), self.clock, timeout, said.append)
        return said


def empty(listens: float) -> Empty:
    return Empty("here", "", "", "", None, listens=listens)


def test_the_event_source_tells_of_models_only_once_the_sensor_listens() -> None:
    cluster = empty(listens=7)
    said = cluster.install(timeout=300)
    assert (cluster.applied[SENSOR.kind], cluster.applied[EVENT_SOURCE.kind]) == (0, 7)
    assert said.index("Sensor here-models: listens") < said.index("EventSource here-models: created")
    assert said[-1] == "Everything is ready."


def test_a_sensor_that_never_says_that_it_listens_is_not_waited_for_without_end() -> None:
    cluster = empty(listens=1000)
    assert "Sensor here-models: does not say that it listens" in cluster.install(timeout=300)
    assert cluster.applied[EVENT_SOURCE.kind] == LISTENS


def test_without_a_wait_and_with_an_event_source_that_is_there_nothing_is_waited_for() -> None:
    cluster = empty(listens=1000)
    cluster.install(timeout=0)
    assert not cluster.clock.slept
    before = cluster.applied[EVENT_SOURCE.kind]
    assert not any("listen" in line for line in cluster.install(timeout=300))
    assert cluster.applied[EVENT_SOURCE.kind] == before


def test_a_new_setting_joins_those_that_are_there() -> None:
    cluster = empty(listens=0)
    cluster.install(0, SLIPWAY_STORE="gs://mine/models", SLIPWAY_REGISTRY="r.example/team", EXTRA="1")
    said = cluster.install(0, SLIPWAY_BUILDER="cloudbuild", EXTRA="")
    assert "Results go to gs://mine/models (--store names another place)." in said
    assert any(line.startswith("Images come from the builder cloudbuild and go to r.example/team ") for line in said)
    found = cluster.objects[CONFIG_MAP, SETTINGS]["data"]
    assert (found["SLIPWAY_BUILDER"], found["SLIPWAY_REGISTRY"], found["EXTRA"]) == ("cloudbuild", "r.example/team", "")


PASSWORD = "hunter2-hunter2"
REFUSED: dict[str, tuple[dict[str, str], list[str]]] = {
    "a folder": ({"SLIPWAY_STORE": "/var/store"}, ["SLIPWAY_STORE is /var/store", "SLIPWAY_STORE=gs://BUCKET/PREFIX"]),
    "an address of a folder": ({"SLIPWAY_STORE": "file:///x"}, ["SLIPWAY_STORE is file:///x", "only a bucket"]),
    "no value": ({"SLIPWAY_BUILD_TIMEOUT": "soon"}, ["SLIPWAY_BUILD_TIMEOUT: ", "seconds that a build may take"]),
    "no builder": ({"SLIPWAY_BUILDER": "magic"}, ["SLIPWAY_BUILDER: "]),
    "no builder of a cluster": ({"SLIPWAY_BUILDER": "local"}, ["SLIPWAY_BUILDER is local", "There are plan, oci, cloudbuild."]),
    "oci without a registry": (
        {"SLIPWAY_BUILDER": "oci"},
        ["SLIPWAY_REGISTRY is not set", "slipway install -n here --set SLIPWAY_REGISTRY=HOST/PATH"],
    ),
    "cloudbuild with another's store": (
        {"SLIPWAY_BUILDER": "cloudbuild", "SLIPWAY_REGISTRY": "r.example", "SLIPWAY_STORE": "s3://b"},
        ["SLIPWAY_STORE is s3://b", "--set SLIPWAY_STORE=gs://BUCKET/PREFIX"],
    ),
    "no pool": ({"SLIPWAY_BUILD_POOL": "mine"}, ["The setting build_pool is 'mine'"]),
    "no registry": ({"SLIPWAY_REGISTRY": "a//b"}, ["a//b"]),
    "mistyped": (
        {"slipway_registri": "x"},
        ["no setting slipway_registri. Did you mean SLIPWAY_REGISTRY?", "--set slipway_registri="],
    ),
    "mistyped at its beginning": ({"SLIPAWAY_REGION": "x"}, ["Did you mean SLIPWAY_REGION?"]),
    "unknown": ({"SLIPWAY_COLOUR_OF_SAILS": "x"}, ["There is no setting SLIPWAY_COLOUR_OF_SAILS.", "SLIPWAY_HTTP_HOSTS"]),
    "a secret": (
        {"AWS_SECRET_ACCESS_KEY": PASSWORD},
        ["AWS_SECRET_ACCESS_KEY holds a secret", "slipway-credentials", "slipway-registry"],
    ),
    "a secret in an address": (
        {"PIP_INDEX_URL": f"https://ada:{PASSWORD}@wheels.example/simple"},
        ["PIP_INDEX_URL holds a secret"],
    ),
}


@pytest.mark.parametrize(("settings", "said"), REFUSED.values(), ids=list(REFUSED))
def test_settings_that_cannot_be_meant_are_refused_before_anything_is_applied(
    settings: dict[str, str], said: list[str]
) -> None:
    cluster = empty(listens=0)
    with pytest.raises(SlipwayError) as caught:
        cluster.install(0, **settings)
    assert caught.value.reason in (Reason.INVALID_INPUT, Reason.UNSUPPORTED_STORE)
    for text in said:
        assert text in f"{caught.value.message}\n{caught.value.hint}"
    assert PASSWORD not in f"{caught.value.message}\n{caught.value.hint}"
    assert not cluster.applied


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(SlipwayError) as caught:
        empty(listens=0).install(0, SLIPWAY_BUILDER="oci", SLIPWAY_REGION="x", SLIPWAY_BUILD_TIMEOUT="1", SLIPWAY_STOR="s3://b")
    assert caught.value.reason is Reason.INVALID_INPUT
    said = caught.value.message.splitlines()
    assert [line.split()[0] for line in said] == ["SLIPWAY_BUILD_TIMEOUT:", "SLIPWAY_REGISTRY", "There"]
    assert "Did you mean SLIPWAY_STORE?" in said[2]


def test_a_wrong_setting_of_before_is_taken_back_by_an_empty_one() -> None:
    cluster = empty(listens=0)
    cluster.install(0)
    cluster.objects[CONFIG_MAP, SETTINGS]["data"]["SLIPWAY_COLOUR"] = "red"
    with pytest.raises(SlipwayError, match="SLIPWAY_COLOUR"):
        cluster.install(0)
    cluster.install(0, SLIPWAY_COLOUR="")


def test_the_environment_of_libraries_is_anybodys() -> None:
    free = {
        "AWS_ENDPOINT_URL": "https://minio.example:9000",
        "AWS_SHARED_CREDENTIALS_FILE": "/etc/slipway/credentials/aws",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/slipway/credentials/key.json",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "NO_PROXY": ".svc",
        "SLIPWAY_HTTP_HOSTS": "git.example",
        "SLIPWAY_PLAIN_HTTP": "registry:5000",
    }
    cluster = empty(listens=0)
    cluster.install(0, **free)
    assert free.items() <= cluster.objects[CONFIG_MAP, SETTINGS]["data"].items()


@given(some.text(some.characters(exclude_categories=["Cs"])))
def test_what_is_applied_is_yaml_whatever_it_holds(text: str) -> None:
    """The API server reads it as YAML, which takes no surrogates: JSON's escapes will not do for an emoji."""
    for value in (text, "\U0001f600 \\ud83d\\ude00 \u2028 \x85 \ufeff \x7f"):
        assert yaml.safe_load(encode_manifest({"name": value})) == {"name": value}


def test_a_model_is_sent_as_it_was_written() -> None:
    assert resource(MODEL) == {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "Model",
        "metadata": {"name": "tiny"},
        "spec": {
            "services": ["token-classification"],
            "sourceKind": "git_lfs",
            "source": "https://example.org/tiny.git",
            "revision": "main",
        },
    }


def test_an_adhoc_workflow_is_what_argo_submit_makes() -> None:
    made = adhoc_workflow(MODEL)
    assert made["metadata"] == {"generateName": "adhoc-tiny-"}, "without the labels by which the operator knows its own"
    assert made["spec"]["workflowTemplateRef"] == {"name": TEMPLATE}
    assert {each["name"]: each["value"] for each in made["spec"]["arguments"]["parameters"]} == {
        "name": "tiny",
        "source_kind": "git_lfs",
        "source": "https://example.org/tiny.git",
        "services": '["token-classification"]',
        "revision": "main",
    }


def upload(source: str) -> Any:
    text = manifest("tiny", source, "ner").replace("git_lfs", "upload")
    return parse_manifest(text, "model.yaml")


def test_a_folder_of_this_machine_is_not_sent_to_a_cluster() -> None:
    for source in ("file:///models/tiny", "models/tiny"):
        with pytest.raises(SlipwayError, match="folder of this machine") as caught:
            check_reachable(upload(source))
        assert caught.value.reason is Reason.INVALID_SOURCE
    for source in ("gs://bucket/tiny", "s3://bucket/tiny"):
        check_reachable(upload(source))
    check_reachable(MODEL)


def test_the_namespace_is_the_flags_or_the_manifests() -> None:
    placed = MODEL.model_copy(update={"metadata": MODEL.metadata.model_copy(update={"namespace": "there"})})
    assert namespace_of(MODEL, "") == ""
    assert namespace_of(MODEL, "here") == "here"
    assert namespace_of(placed, "") == "there"
    assert namespace_of(placed, "there") == "there"
    with pytest.raises(SlipwayError, match="namespace there, and -n says here"):
        namespace_of(placed, "here")
