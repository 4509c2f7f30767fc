"""What the operator does to a cluster: it may look at any time, twice at once, be killed anywhere, and come too late."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from crd.fitting import fit
from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import (
    EventObject,
    KubernetesObject,
    LastFailureObject,
    ModelObject,
    ModelStatusObject,
    WorkflowObject,
)
from crd.observe import is_waiting
from crd.reconcile import TRIES, reconcile, reconcile_workflow, stop_workflows
from crd.workflow import thin_workflow, workflow_name
from tests.crd.fake_api import FakeApi, refusal
from tests.crd.recorded_workflows import UID, model, workflow

NAME = workflow_name(UID, 1)


@dataclass
class Cluster:
    """A cluster with one Model, ``m``, that the operator looks at.

    ``before_write`` is called in front of each write of a status: what somebody else does in that moment.
    """

    api: FakeApi = field(default_factory=FakeApi)
    before_write: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        def before(method: str, path: str) -> None:
            if path == "models/m/status":
                self.before_write()

        self.api.before_request = before

    @property
    def client(self) -> KubernetesClient:
        return self.api.client("lab")

    @property
    def models(self) -> dict[str, ModelObject]:
        return cast(dict[str, ModelObject], self.api.objects["models"])

    @property
    def workflows(self) -> dict[str, WorkflowObject]:
        return cast(dict[str, WorkflowObject], self.api.objects["workflows"])

    @property
    def events(self) -> dict[str, EventObject]:
        return cast(dict[str, EventObject], self.api.objects["events"])

    @property
    def writes(self) -> int:
        """How many times a status was written."""
        return self.api.accepted.count(("PATCH", "models/m/status"))

    @property
    def created(self) -> list[str]:
        """The names of the Workflows that were created through the API."""
        return [name for plural, name in self.api.created if plural == "workflows"]

    def touch(self, stored: KubernetesObject) -> None:
        """Somebody writes something of an object."""
        stored["metadata"]["resourceVersion"] = str(int(stored["metadata"]["resourceVersion"]) + 1)

    def apply(self, new: ModelObject) -> None:
        """A person applies a Model."""
        name = new["metadata"]["name"]
        new["status"] = self.models.get(name, new)["status"]
        self.models[name] = new

    def put(self, new: WorkflowObject) -> None:
        """Argo writes a Workflow."""
        self.workflows[new["metadata"]["name"]] = new

    def look(self, *, start: bool = False) -> None:
        """The operator looks at the Model."""
        reconcile(self.client, "m", start=start)

    def see(self, workflow: WorkflowObject) -> None:
        """The operator receives a change of a Workflow."""
        reconcile_workflow(self.client, workflow)

    def run(self, name: str) -> None:
        """The Workflow of the Model comes to where the recorded one is, and the operator receives the change."""
        found = self.models["m"]
        self.put(workflow(name, of=found))
        self.see(self.workflows[workflow_name(found["metadata"]["uid"], found["metadata"]["generation"])])

    @property
    def status(self) -> ModelStatusObject:
        return self.models["m"]["status"].copy()

    @property
    def last_failure(self) -> LastFailureObject:
        failure = self.status["lastFailure"]
        assert failure is not None
        return failure

    @property
    def reasons(self) -> list[str]:
        return sorted(each["reason"] for each in self.events.values())

    def true(self) -> set[str]:
        """The types of the conditions that are true."""
        return {each["type"] for each in self.status["conditions"] if each["status"] == "True"}


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.apply(model())
    return cluster


def test_the_sensor_creates_the_workflow_first(cluster: Cluster) -> None:
    cluster.look()
    assert cluster.created == []
    assert cluster.status["workflow"] == NAME
    assert "Reconciling" in cluster.true()


def test_the_missing_workflow_is_created_once(cluster: Cluster) -> None:
    cluster.look(start=True)
    cluster.look(start=True)
    assert cluster.created == [NAME]
    assert cluster.reasons == ["WorkflowCreated"]
    assert {**cluster.workflows[NAME], "metadata": {}} == {**thin_workflow(model()), "metadata": {}}


def test_a_workflow_created_by_the_sensor_is_kept(cluster: Cluster) -> None:
    sensors = thin_workflow(model())

    def before(method: str, path: str) -> None:
        if (method, path) == ("POST", "workflows"):
            cluster.put(sensors)

    cluster.api.before_request = before
    cluster.look(start=True)
    assert cluster.created == []
    assert cluster.reasons == []


def test_each_change_of_a_run_is_written_once(cluster: Cluster) -> None:
    cluster.look(start=True)
    for name in ("running", "running", "succeeded", "succeeded"):
        cluster.run(name)
    assert cluster.writes == 3  # starting, running, ready
    assert cluster.true() >= {"Ready", "Packaged"}
    assert cluster.reasons == ["Ready", "WorkflowCreated"]


def test_a_finished_generation_is_never_run_again(cluster: Cluster) -> None:
    cluster.run("succeeded")
    before, writes = cluster.status, cluster.writes
    cluster.workflows.clear()
    cluster.look(start=True)
    assert cluster.created == []
    assert (cluster.status, cluster.writes) == (before, writes)


def test_a_deleted_unfinished_workflow_is_created_again(cluster: Cluster) -> None:
    cluster.run("running")
    cluster.workflows.clear()
    cluster.look(start=True)
    assert cluster.created == [NAME]


@pytest.mark.parametrize("invalid", [model(services=("no-such-task",)), model(builder="local")], ids=["task", "builder"])
def test_an_invalid_spec_gets_no_workflow(cluster: Cluster, invalid: ModelObject) -> None:
    cluster.apply(copy.deepcopy(invalid))
    cluster.look(start=True)
    cluster.look(start=True)
    assert cluster.workflows == {}
    assert cluster.true() == {"Stalled"}
    assert cluster.reasons == ["Stalled"]
    assert cluster.writes == 1


def test_a_missing_image_gets_one_event_and_stalls(cluster: Cluster) -> None:
    for name in ("image-missing", "image-missing", "image-never-came", "image-never-came"):
        cluster.run(name)
    assert cluster.reasons == ["Stalled", "StepFailed"]
    assert cluster.last_failure["reason"] == "ImageUnavailable"


def test_a_corrected_time_gets_no_second_event(cluster: Cluster) -> None:
    cluster.run("terminated")
    later = workflow("terminated", of=cluster.models["m"])
    for node in later["status"]["nodes"].values():
        node["finishedAt"] = "2026-11-24T08:00:00Z"
    cluster.put(later)
    cluster.look()
    assert cluster.last_failure["time"] == "2026-11-24T08:00:00Z"
    assert cluster.reasons == ["Stalled", "StepFailed"]


def test_failure_retry_and_success_have_events(cluster: Cluster) -> None:
    for name in ("pod-lost", "revision-missing"):
        cluster.run(name)
    assert "Stalled" in cluster.true()
    assert cluster.reasons == ["Stalled", "StepFailed", "StepFailed"]
    for name in ("running", "succeeded"):  # argo retry
        cluster.run(name)
    assert cluster.true() >= {"Ready"}
    assert cluster.reasons == ["Ready", "Stalled", "StepFailed", "StepFailed"]
    assert cluster.status["finishedGeneration"] == 1
    assert "lastFailure" not in cluster.status


def test_a_repeated_failure_gets_another_event(cluster: Cluster) -> None:
    cluster.run("revision-missing")
    cluster.run("running")
    again = workflow("revision-missing", of=cluster.models["m"])
    for node in again["status"]["nodes"].values():
        node["finishedAt"] = "2026-11-24T08:00:00Z"
    cluster.put(again)
    cluster.look()
    assert cluster.reasons == ["Stalled", "Stalled", "StepFailed", "StepFailed"]


def test_a_new_generation_replaces_the_old_run(cluster: Cluster) -> None:
    cluster.run("running")
    cluster.apply(model(generation=2))
    cluster.look()
    assert cluster.workflows[NAME]["spec"]["shutdown"] == "Stop"
    assert cluster.status["observedGeneration"] == 2
    assert "setDigest" not in cluster.status
    cluster.look(start=True)
    assert cluster.created == [workflow_name(UID, 2)]
    assert "shutdown" not in cluster.workflows[workflow_name(UID, 2)]["spec"]


def test_a_late_older_generation_changes_nothing(cluster: Cluster) -> None:
    cluster.run("running")
    old = cluster.workflows[NAME]
    cluster.apply(model(generation=2))
    cluster.run("running")
    before, writes = cluster.status, cluster.writes
    late = workflow("revision-missing", of=model())
    cluster.put(late)
    cluster.see(late)
    assert (cluster.status, cluster.writes) == (before, writes)
    cluster.see(old)  # still running: nobody waits for it
    assert cluster.workflows[NAME]["spec"] == {"shutdown": "Stop"}


def test_a_late_workflow_of_another_model_changes_nothing(cluster: Cluster) -> None:
    old = workflow("running", of=model(uid="another"))
    cluster.put(old)
    cluster.see(old)
    assert cluster.writes == 0
    assert cluster.workflows[old["metadata"]["name"]]["spec"]["shutdown"] == "Stop"


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "going"])
def test_a_workflow_without_a_model_is_stopped(cluster: Cluster, gone: bool) -> None:
    orphan = workflow("running", of=cluster.models["m"])
    cluster.put(orphan)
    if gone:
        cluster.models.clear()
    else:
        cluster.models["m"]["metadata"]["deletionTimestamp"] = "2026-11-23T23:00:00Z"
    cluster.see(orphan)
    assert cluster.workflows[NAME]["spec"]["shutdown"] == "Stop"
    assert cluster.writes == 0


def test_an_ended_workflow_is_left_alone(cluster: Cluster) -> None:
    ended = workflow("succeeded", of=cluster.models.pop("m"))
    cluster.put(ended)
    cluster.see(ended)
    stop_workflows(cluster.client, UID)
    assert "shutdown" not in cluster.workflows[NAME]["spec"]


def test_stopping_a_model_stops_only_its_workflows(cluster: Cluster) -> None:
    for found_model in (model(), model(generation=2), model(uid="another")):
        cluster.put(workflow("running", of=found_model))
    stop_workflows(cluster.client, UID)
    stopped = {name for name, each in cluster.workflows.items() if "shutdown" in each["spec"]}
    assert stopped == {NAME, workflow_name(UID, 2)}


def test_a_workflow_started_by_hand_is_left_alone(cluster: Cluster) -> None:
    resubmitted = workflow("running", of=cluster.models["m"])
    resubmitted["metadata"]["name"] += "-again"
    cluster.put(resubmitted)
    cluster.see(resubmitted)
    assert "shutdown" not in resubmitted["spec"]
    assert cluster.writes == 0


def test_a_conflicting_status_write_is_repeated(cluster: Cluster) -> None:
    def somebody() -> None:
        cluster.before_write = lambda: None
        cluster.put(workflow("succeeded", of=cluster.models["m"]))
        cluster.touch(cluster.models["m"])

    cluster.before_write = somebody
    cluster.run("running")
    assert cluster.writes == 1
    assert cluster.true() >= {"Ready"}


def test_a_model_that_keeps_changing_is_left_alone(cluster: Cluster) -> None:
    tries = []

    def restless() -> None:
        tries.append(1)
        cluster.touch(cluster.models["m"])

    cluster.before_write = restless
    cluster.run("succeeded")
    assert len(tries) == TRIES
    assert cluster.writes == 0
    assert cluster.reasons == ["Ready"]  # created once, and correct


def test_a_killed_operator_repeats_no_event(cluster: Cluster) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    cluster.before_write = killed
    with pytest.raises(KeyboardInterrupt):
        cluster.run("revision-missing")
    cluster.before_write = lambda: None
    cluster.look()
    assert cluster.reasons == ["Stalled", "StepFailed"]
    assert "Stalled" in cluster.true()


def test_an_event_names_the_model_and_is_short(cluster: Cluster) -> None:
    cluster.run("revision-missing")
    for event in cluster.events.values():
        assert event["involvedObject"] == {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "Model",
            "name": "m",
            "namespace": "lab",
            "uid": UID,
        }
        assert event["type"] == "Warning"
        assert event["metadata"]["name"].startswith("m.")
        assert len(event["message"]) <= 1024
    assert "fetch: RevisionNotFound: There is no 'missing'. Hint: It has: main." in {
        each["message"] for each in cluster.events.values()
    }


@pytest.mark.parametrize(
    ("status", "expected"),
    [({}, True), ({"finishedGeneration": 1}, True), ({"finishedGeneration": 2}, False), ({"finishedGeneration": "2"}, True)],
)
def test_a_model_is_unfinished_until_its_generation_ends(status: dict[str, object], expected: bool) -> None:
    stored = {**model(generation=2), "status": status}
    assert is_waiting(fit(stored, ModelObject)) is expected


ODD: dict[str, dict[str, object]] = {
    "spec is null": {"spec": None},
    "both": {"spec": None, "status": [1]},
    "spec is a text": {"spec": "x"},
    "spec is empty": {"spec": {}, "status": "Ready"},
    "services are a number": {"spec": {"services": 7, "sourceKind": "upload"}},
    "a service is a number": {"spec": {"services": [7, "ner"], "sourceKind": "upload"}},
    "conditions are a text": {"spec": {"services": ["no"]}, "status": {"conditions": "none", "finishedGeneration": "7"}},
    "conditions without type": {"spec": 1, "status": {"conditions": [{}, 1, None, {"type": 3}], "finishedGeneration": True}},
    "its source has a password": {
        "spec": {"services": ["ner"], "sourceKind": "git_lfs", "source": "http://user:s%65cr%65t@h/a"},
        "status": {"finishedGeneration": -4, "lastFailure": [], "services": {"task": "x"}, "observedGeneration": None},
    },
}


@pytest.mark.fault("refused")
@pytest.mark.parametrize("parts", [pytest.param(parts, id=name) for name, parts in ODD.items()])
def test_an_object_that_no_rule_lets_in_stalls(cluster: Cluster, parts: dict[str, object]) -> None:
    cluster.models["m"] = cast(ModelObject, {**model(), **parts})
    assert not is_waiting(fit(cluster.models["m"], ModelObject)), "nothing may hold it"
    for _ in range(3):
        cluster.look(start=True)
    assert cluster.true() == {"Stalled"}
    assert cluster.reasons == ["Stalled"]
    assert (cluster.created, cluster.writes) == ([], 1)
    assert cluster.last_failure["reason"] == "InvalidManifest"
    assert cluster.last_failure["message"].startswith("spec.")
    assert "cr%65t" not in str(cluster.status) + str(cluster.events)


@pytest.mark.fault("survived")
@pytest.mark.parametrize("status", [[1], None, "Ready", {"finishedGeneration": [1], "conditions": {}}], ids=str)
def test_an_odd_status_counts_as_none(cluster: Cluster, status: object) -> None:
    cluster.models["m"] = cast(ModelObject, {**model(), "status": status})
    assert is_waiting(fit(cluster.models["m"], ModelObject))
    cluster.look(start=True)
    assert cluster.created == [NAME]
    cluster.run("succeeded")
    assert "Ready" in cluster.true()


@pytest.mark.fault("refused")
@pytest.mark.parametrize("name", ["x" * 41, "x" * 63 + "." + "y" * 63, "a.b"])
def test_a_name_that_no_rule_lets_in_stalls(cluster: Cluster, name: str) -> None:
    stored = model()
    stored["metadata"]["name"] = name
    cluster.models[name] = stored
    reconcile(cluster.client, name, start=True)
    assert cluster.created == []
    failure = cluster.models[name]["status"]["lastFailure"]
    assert failure
    assert (
        failure["message"]
        == "metadata.name: write at most 40 lower-case letters, digits and dashes, with a letter or digit at both ends"
    )


@pytest.mark.fault("survived")
def test_a_status_that_is_refused_is_logged_once(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    def refuse() -> None:
        raise refusal(422, "Invalid")

    cluster.models["m"] = cast(ModelObject, {**model(uid="another"), "spec": None})
    cluster.before_write = refuse
    for _ in range(3):
        cluster.look(start=True)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "lab/m: The API server refuses its status: the stored Model does not follow the CRD's rules."
    ]


@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    "status",
    [
        [1],
        {"nodes": [1]},
        {"nodes": {"a": 1, "b": None, "c": {}, "d": {"type": "Pod", "name": 7, "inputs": [], "outputs": {"parameters": [3]}}}},
        {"nodes": {"a": {"type": "Pod", "name": "w.fetch(0)", "templateName": "fetch", "startedAt": 3, "phase": ["Failed"]}}},
        {"phase": {"a": 1}, "message": 3, "finishedAt": [], "compressedNodes": 3, "offloadNodeStatusVersion": {}},
    ],
    ids=range(5),
)
def test_a_workflow_of_any_shape_is_survived(cluster: Cluster, status: object) -> None:
    odd = workflow("running", of=cluster.models["m"])
    cluster.put(cast(WorkflowObject, {**odd, "status": status}))
    cluster.look(start=True)
    cluster.see(fit(cluster.workflows[NAME], WorkflowObject))
    assert "Reconciling" in cluster.true()


@pytest.mark.fault("survived")
def test_outputs_of_any_size_fit_the_status(cluster: Cluster) -> None:
    found = workflow("succeeded", of=cluster.models["m"])
    for node in found["status"]["nodes"].values():
        for output in node.get("outputs", {}).get("parameters", []):
            output["value"] = "9" * 5000 if output["name"] != "services" else '["ner"]'
    cluster.put(found)
    cluster.look()
    assert "Ready" in cluster.true()
    for service in cluster.status["services"]:
        assert len(service["archive"]) == 512
        assert "latencyMs" not in service


def test_a_model_that_is_gone_needs_nothing() -> None:
    cluster = Cluster()
    cluster.look(start=True)
    assert (cluster.created, cluster.writes) == ([], 0)
