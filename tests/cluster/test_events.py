"""From a Model to its Workflow on a real bus: once for each generation, whatever is applied, killed, replayed or deleted.

The namespace enforces Pod Security ``restricted``. The WorkflowTemplate takes the real one's arguments and then waits for ever.
``SLIPWAY_E2E_EVENT_BUS`` names a JetStream; without it Argo Events runs one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import pytest
from kubernetes.client import ApiClient, ApiException, CoreV1Api, CustomObjectsApi
from kubernetes.dynamic import DynamicClient

from crd.kubernetes_objects import ModelObject
from crd.types import API_VERSION
from crd.workflow import UID_LABEL, thin_workflow, workflow_name
from pipelines.access import access
from pipelines.cluster.readiness import SUBSCRIBED
from pipelines.events import event_bus, events
from pipelines.names import events_name
from pipelines.pod_security import CONTAINER_SECURITY
from pipelines.workflow_template import workflow_template
from tests.cluster.custom_resources import anything_is_let_in

pytestmark = pytest.mark.timeout(600)

MANAGER = "slipway-tests"
CONTROLLER = "app=workflow-controller"
INSTANCE = "workflows.argoproj.io/controller-instanceid"
WAIT = 120  # seconds; a message whose Sensor was killed comes again after 30
UPLOAD = {"sourceKind": "upload", "services": ["image-classification"]}


@dataclass
class Land:
    """A namespace with the three parts running in it."""

    namespace: str
    dynamic: Any
    core: CoreV1Api
    numbers: Iterator[int] = field(default_factory=count)

    def kind(self, kind: str, api_version: str = "argoproj.io/v1alpha1") -> Any:
        return self.dynamic.resources.get(api_version=api_version, kind=kind)

    def apply(self, manifest: Mapping[str, object]) -> dict[str, Any]:
        stored = self.kind(str(manifest["kind"]), str(manifest["apiVersion"])).server_side_apply(
            body=manifest, namespace=self.namespace, field_manager=MANAGER, force_conflicts=True
        )
        result: dict[str, Any] = stored.to_dict()
        return result

    def new(self, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
        """Create a Model under a name of its own, and return it as it is stored."""
        manifest = self.manifest(f"m{next(self.numbers)}", spec, **metadata)
        result: dict[str, Any] = self.models().create(body=manifest, namespace=self.namespace).to_dict()
        return result

    def change(self, name: str, spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
        """Apply a Model again, with these changes or with none."""
        return self.apply(self.manifest(name, spec, **metadata))

    def manifest(self, name: str, spec: dict[str, Any] | None, **metadata: Any) -> dict[str, Any]:
        spec = {**UPLOAD, "source": "gs://bucket/prefix", **(spec or {})}
        return {"apiVersion": API_VERSION, "kind": "Model", "metadata": {"name": name, **metadata}, "spec": spec}

    def models(self) -> Any:
        return self.kind("Model", API_VERSION)

    def finish(self, model: dict[str, Any]) -> None:
        """Say what the operator says when a generation's run has ended."""
        self.models().status.patch(
            name=model["metadata"]["name"],
            namespace=self.namespace,
            body={"status": {"finishedGeneration": model["metadata"]["generation"]}},
            content_type="application/merge-patch+json",
        )

    def workflows(self, model: dict[str, Any]) -> list[dict[str, Any]]:
        labels = f"{UID_LABEL}={model['metadata']['uid']}"
        found: list[dict[str, Any]] = (
            self.kind("Workflow").get(namespace=self.namespace, label_selector=labels).to_dict()["items"]
        )
        return found

    def the_workflow(self, model: dict[str, Any]) -> dict[str, Any]:
        """The only one, once it is there."""
        wait("a Workflow", lambda: bool(self.workflows(model)))
        (found,) = self.workflows(model)
        return found

    def delete_workflows(self, model: dict[str, Any]) -> None:
        for workflow in self.workflows(model):
            self.kind("Workflow").delete(name=workflow["metadata"]["name"], namespace=self.namespace)
        wait("the Workflows to go", lambda: not self.workflows(model))

    def kill(self, kind: str) -> None:
        """End the pods of the Sensor or the EventSource at once, without a chance to finish; new ones come by themselves."""
        for pod in self.pods(kind):
            self.core.delete_namespaced_pod(pod.metadata.name, self.namespace, grace_period_seconds=0)

    def pods(self, kind: str) -> list[Any]:
        return self.labelled(f"{kind.lower()}-name={events_name(self.namespace)}")

    def labelled(self, label: str) -> list[Any]:
        pods: list[Any] = self.core.list_namespaced_pod(self.namespace, label_selector=label).items
        return pods

    def log(self, kind: str) -> str:
        """What the Sensor or the EventSource wrote; nothing while its pod is going or coming."""
        pods = self.pods(kind)
        if len(pods) != 1 or pods[0].metadata.deletion_timestamp or pods[0].status.phase != "Running":
            return ""
        try:
            # Some versions of the client make a Python literal of the text; its bytes are the same in all.
            answer = self.core.read_namespaced_pod_log(pods[0].metadata.name, self.namespace, _preload_content=False)
        except ApiException as error:
            if error.status not in (400, 404):  # the pod is not ready, or went meanwhile
                raise
            return ""
        return str(answer.data.decode())

    def restart_source(self) -> None:
        """Kill the EventSource, and wait until a new one has told of every Model that there is."""
        there = len(self.models().get(namespace=self.namespace).items)
        before = {pod.metadata.name for pod in self.pods("EventSource")}
        self.kill("EventSource")
        wait("a new EventSource", lambda: not before & {pod.metadata.name for pod in self.pods("EventSource")})
        wait("the replay", lambda: self.log("EventSource").count("Succeeded to publish an event") >= there)

    def settle(self) -> None:
        """Wait until the Sensor has dealt with all events so far; it takes one after the other."""
        model = self.new()
        self.the_workflow(model)
        self.finish(model)


def wait(what: str, ready: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not ready():
        assert time.monotonic() < end, f"not within {WAIT} s: {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def land(kube: ApiClient, namespace: str, models: CustomObjectsApi) -> Land:
    core = CoreV1Api(kube)
    core.patch_namespace(namespace, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    # A place that cannot exist keeps the package from believing what it discovered another time.
    land = Land(namespace, DynamicClient(kube, cache_file=f"{os.devnull}/none"), core)
    template = workflow_template().to_dict()
    template["spec"] = {
        "entrypoint": "wait",
        "arguments": template["spec"]["arguments"],
        "templates": [{"name": "wait", "suspend": {}}],
    }
    bus, sensor, source = events(namespace, os.environ.get("SLIPWAY_E2E_EVENT_BUS"))
    for manifest in (*access(), template, bus, sensor):
        land.apply(manifest)
    wait("the Sensor to listen", lambda: SUBSCRIBED in land.log("Sensor"))
    land.apply(source)
    return land


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"name": "org/model"},
        {"services": ["image-classification", "feature-extraction", "ner"]},
        {"include": ["*.json", "[a-z]/x!=+@-_"], "exclude": ["a?b"]},
        {"source": 'gs://bucket/it\'s "quoted" <b> & $(x) \\ %7B `id`; | x=y é 模 \u2028 \U0001f600'},
        {"sourceKind": "git_lfs", "source": "http://host.example/a'(x)%7B;&=,+*!~@:%22.git", "revision": "v1/a@b=c"},
        {"expectedSetDigest": "0" * 64, "framework": "transformers", "builder": "plan"},
    ],
    ids=lambda spec: ",".join(spec) or "defaults",
)
def test_the_sensors_workflow_is_everybodys_workflow(land: Land, spec: dict[str, Any]) -> None:
    model = land.new(spec)
    workflow = land.the_workflow(model)
    land.finish(model)
    thin = thin_workflow(cast(ModelObject, model))
    assert workflow["metadata"]["name"] == thin["metadata"]["name"]
    assert workflow["metadata"]["labels"].items() >= thin["metadata"]["labels"].items()
    assert workflow["spec"] == thin["spec"]
    arguments = {parameter["name"]: parameter["value"] for parameter in workflow["spec"]["arguments"]["parameters"]}
    assert arguments["name"] == model["metadata"]["name"]
    assert arguments["source"] == model["spec"]["source"]


@pytest.mark.fault("refused")
def test_what_no_rule_lets_in_starts_nothing(land: Land, kube: ApiClient) -> None:
    odd: list[dict[str, Any]] = [
        {"spec": None},
        {"spec": "x", "status": [1]},
        {"spec": {**UPLOAD, "services": 7}},
        {"spec": {**UPLOAD, "sourceKind": "git_lfs", "source": "http://user:s%65cr%65t@h/a"}},
        {"spec": {**UPLOAD, "source": "gs://bucket/{{=1+1}}"}},
        {"spec": {**UPLOAD, "revision": "a\n--upload-pack=x"}},
        {"metadata": {"name": "odd.name"}},
    ]
    with anything_is_let_in(kube):
        models = [
            land.models().create(body={**land.manifest(f"odd-{number}", {}), **parts}, namespace=land.namespace).to_dict()
            for number, parts in enumerate(odd)
        ]
        fine = {**land.manifest("odd-status", {}), "status": [1]}
        fine = land.models().create(body=fine, namespace=land.namespace).to_dict()
    land.the_workflow(fine)
    land.restart_source()
    land.settle()
    assert not any(land.workflows(model) for model in models)
    assert "cr%65t" not in land.log("Sensor") + land.log("EventSource")
    land.finish(fine)
    for model in models:
        land.models().delete(name=model["metadata"]["name"], namespace=land.namespace)


def test_an_equal_generation_starts_nothing(land: Land) -> None:
    model = land.new()
    first = land.the_workflow(model)
    name = model["metadata"]["name"]
    land.change(name)
    land.change(name, labels={"team": "vision"}, annotations={"note": "a"})
    land.change(name)
    land.models().status.patch(
        name=name,
        namespace=land.namespace,
        body={"status": {"observedGeneration": 1, "workflow": first["metadata"]["name"]}},
        content_type="application/merge-patch+json",
    )
    # Were any of these taken for a Model, this name would be free for it.
    land.delete_workflows(model)
    land.change(name, annotations={"note": "b"})
    land.settle()
    assert not land.workflows(model)


def test_a_new_generation_starts_one(land: Land) -> None:
    spec = {"sourceKind": "git_lfs", "source": "https://host.example/a"}
    model = land.new(spec)
    land.the_workflow(model)
    land.finish(model)
    changed = land.change(model["metadata"]["name"], {**spec, "revision": "v2"})
    assert changed["metadata"]["generation"] == 2
    land.settle()
    uid = model["metadata"]["uid"]
    assert {found["metadata"]["name"] for found in land.workflows(model)} == {workflow_name(uid, 1), workflow_name(uid, 2)}


def test_a_restarted_source_repeats_nothing_done(land: Land) -> None:
    done = [land.new() for _ in range(3)]
    for model in done:
        land.the_workflow(model)
        land.finish(model)
        land.delete_workflows(model)
    land.restart_source()
    land.settle()
    assert not any(land.workflows(model) for model in done)


def test_a_restarted_source_leaves_running_workflows(land: Land) -> None:
    model = land.new()
    before = land.the_workflow(model)
    # As `argo retry -p` does: a Sensor that patched would undo it.
    land.kind("Workflow").patch(
        name=before["metadata"]["name"],
        namespace=land.namespace,
        body={"spec": {"arguments": {"parameters": [{"name": "source", "value": "gs://bucket/other"}]}}},
        content_type="application/merge-patch+json",
    )
    land.restart_source()
    taken = f'{before["metadata"]["name"]}\\" already exists'  # within JSON
    wait("the Sensor to find the name taken", lambda: taken in land.log("Sensor"))
    land.settle()
    after = land.the_workflow(model)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["spec"]["arguments"]["parameters"] == [{"name": "source", "value": "gs://bucket/other"}]
    assert land.pods("Sensor")[0].status.container_statuses[0].restart_count == 0
    land.finish(model)


def test_a_model_that_is_being_deleted_starts_nothing(land: Land) -> None:
    model = land.new(finalizers=["slipway.dev/test"])
    land.the_workflow(model)
    name = model["metadata"]["name"]
    land.models().delete(name=name, namespace=land.namespace)
    try:
        land.delete_workflows(model)
        land.restart_source()
        land.settle()
        assert not land.workflows(model)
    finally:
        land.models().patch(
            name=name,
            namespace=land.namespace,
            body={"metadata": {"finalizers": None}},
            content_type="application/merge-patch+json",
        )


def test_a_recreated_model_is_run(land: Land) -> None:
    model = land.new()
    land.the_workflow(model)
    land.models().delete(name=model["metadata"]["name"], namespace=land.namespace)
    again = land.change(model["metadata"]["name"])
    assert again["metadata"]["uid"] != model["metadata"]["uid"]
    assert land.the_workflow(again)["metadata"]["name"] == workflow_name(again["metadata"]["uid"], 1)
    land.finish(again)


def test_ten_models_get_ten_workflows(land: Land) -> None:
    models = []
    for number in range(10):
        models.append(land.new())
        if number in (2, 6):
            land.kill("EventSource")
        if number in (4, 7):
            land.kill("Sensor")
    wait("ten Workflows", lambda: all(land.workflows(model) for model in models))
    land.settle()
    for model in models:
        land.finish(model)
        (workflow,) = land.workflows(model)
        assert workflow["metadata"]["name"] == workflow_name(model["metadata"]["uid"], 1)


def test_the_managed_bus_is_admitted(land: Land) -> None:
    """Its version is known and its pods are admitted; what they hold is not for these tests to fetch."""
    bus = event_bus()
    land.apply({**bus, "metadata": {"name": "managed"}})
    try:
        wait("three pods", lambda: len(land.labelled("eventbus-name=managed")) == 3)
    finally:
        land.kind("EventBus").delete(name="managed", namespace=land.namespace)


@pytest.fixture
def secure(land: Land) -> str:
    """A second controller, for Workflows that ask for it by this label's value, which lets nothing but references be submitted.

    It is the cluster's own controller once more, in the tests' namespace; the one that everybody uses stays as it is.
    """
    controllers = land.core.list_pod_for_all_namespaces(label_selector=CONTROLLER).items
    if not controllers:
        pytest.skip(f"No pod {CONTROLLER} is here to copy.")
    container = controllers[0].spec.containers[0]
    settings = {"instanceID": "secure", "workflowRestrictions": "templateReferencing: Secure\n"}
    names = {"name": "workflow-controller-configmap"}
    account = {"name": "controller"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "argo-cluster-role"}
    subject = {"kind": "ServiceAccount", "namespace": land.namespace, **account}
    main = {
        "name": "main",
        "image": container.image,
        "command": container.command,
        "args": ["--namespaced", "--managed-namespace", land.namespace],
        "env": [
            {"name": "LEADER_ELECTION_DISABLE", "value": "true"},
            {"name": "ARGO_NAMESPACE", "value": land.namespace},
        ],
        "securityContext": CONTAINER_SECURITY,
    }
    pod = {
        "serviceAccountName": account["name"],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [main],
    }
    for kind, version, metadata, rest in (
        ("ConfigMap", "v1", names, {"data": settings}),
        ("ServiceAccount", "v1", account, {}),
        ("RoleBinding", "rbac.authorization.k8s.io/v1", account, {"roleRef": role, "subjects": [subject]}),
        ("Pod", "v1", account, {"spec": pod}),
    ):
        land.apply({"apiVersion": version, "kind": kind, "metadata": metadata, **rest})
    return "secure"


def test_secure_template_referencing_admits_workflows(land: Land, secure: str) -> None:
    model = land.change("secure")
    land.the_workflow(model)
    land.finish(model)
    thin = thin_workflow(cast(ModelObject, model))
    thin["metadata"] |= {"name": "thin", "labels": {INSTANCE: secure}}
    more = {**thin, "metadata": {**thin["metadata"], "name": "more"}, "spec": {**thin["spec"], "serviceAccountName": "default"}}
    for workflow in (thin, more):
        land.apply(workflow)

    def status(name: str) -> dict[str, Any]:
        found: dict[str, Any] = land.kind("Workflow").get(name=name, namespace=land.namespace).to_dict()
        return found.get("status") or {}

    wait("the second controller", lambda: all(status(name).get("phase") for name in ("thin", "more")))
    assert status("thin")["phase"] == "Running"
    assert status("more")["phase"] == "Error"
    assert "templateReferencing" in status("more")["message"]
