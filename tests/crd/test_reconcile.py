"""What the operator does to a cluster: it may look at any time, twice at once, be killed anywhere, and come too late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import WorkflowObject
from crd.operator import unfinished
from crd.reconcile import TRIES, reconcile, reconcile_workflow, stop_workflows
from crd.workflow import thin_workflow, workflow_name
from tests.crd.fake_api import FakeApi
from tests.crd.recorded import UID, Object, model, workflow

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
    def models(self) -> dict[str, Object]:
        return cast(dict[str, Object], self.api.objects["models"])

    @property
    def workflows(self) -> dict[str, Object]:
        return cast(dict[str, Object], self.api.objects["workflows"])

    @property
    def events(self) -> dict[str, Object]:
        return cast(dict[str, Object], self.api.objects["events"])

    @property
    def writes(self) -> int:
        """How many times a status was written."""
        return self.api.accepted.count(("PATCH", "models/m/status"))

    @property
    def created(self) -> list[str]:
        """The names of the Workflows that were created through the API."""
        return [name for plural, name in self.api.created if plural == "workflows"]

    def touch(self, stored: Object) -> None:
        """Somebody writes something of an object."""
        stored["metadata"]["resourceVersion"] = str(int(stored["metadata"]["resourceVersion"]) + 1)

    def put(self, new: Object) -> None:
        """A person applies a Model, or Argo writes a Workflow."""
        if new["kind"] == "Model":
            new["status"] = self.models.get(new["metadata"]["name"], new)["status"]
        self.api.put("workflows" if new["kind"] == "Workflow" else "models", new)

    def look(self, *, start: bool = False) -> None:
        """The operator looks at the Model."""
        reconcile(self.client, "m", start=start)

    def see(self, workflow: Object) -> None:
        """The operator is told of a change of a Workflow."""
        reconcile_workflow(self.client, cast(WorkflowObject, workflow))

    def run(self, name: str) -> None:
        """The Workflow of the Model comes to where the recorded one is, and the operator is told."""
        found = self.models["m"]
        self.put(workflow(name, of=found))
        self.see(self.workflows[workflow_name(found["metadata"]["uid"], found["metadata"]["generation"])])

    @property
    def status(self) -> Object:
        return dict(self.models["m"]["status"])

    @property
    def reasons(self) -> list[str]:
        return sorted(each["reason"] for each in self.events.values())

    def true(self) -> set[str]:
        """The types of the conditions that are true."""
        return {each["type"] for each in self.status["conditions"] if each["status"] == "True"}


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster()
    cluster.put(model())
    return cluster


def test_the_sensor_has_a_head_start(cluster: Cluster) -> None:
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


def test_a_name_that_the_sensor_took_meanwhile_is_as_good(cluster: Cluster) -> None:
    sensors = {**thin_workflow(model()), "status": {}}

    def before(method: str, path: str) -> None:
        if (method, path) == ("POST", "workflows"):
            cluster.put(sensors)

    cluster.api.before_request = before
    cluster.look(start=True)
    assert cluster.created == []
    assert cluster.reasons == []


def test_a_run_from_its_start_to_its_end_is_written_and_announced_once(cluster: Cluster) -> None:
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


def test_a_workflow_that_vanished_before_its_end_is_created_again(cluster: Cluster) -> None:
    cluster.run("running")
    cluster.workflows.clear()
    cluster.look(start=True)
    assert cluster.created == [NAME]


@pytest.mark.parametrize("spec", [{"services": ["no-such-task"]}, {"builder": "local"}], ids=lambda spec: next(iter(spec)))
def test_a_spec_that_is_not_accepted_gets_no_workflow(cluster: Cluster, spec: dict[str, Any]) -> None:
    cluster.put(model(**spec))
    cluster.look(start=True)
    cluster.look(start=True)
    assert cluster.workflows == {}
    assert cluster.true() == {"Stalled"}
    assert cluster.reasons == ["Stalled"]
    assert cluster.writes == 1


def test_an_image_that_never_comes_is_announced_once_and_stalls_in_the_end(cluster: Cluster) -> None:
    for name in ("image-missing", "image-missing", "image-never-came", "image-never-came"):
        cluster.run(name)
    assert cluster.reasons == ["Stalled", "StepFailed"]
    assert cluster.status["lastFailure"]["reason"] == "ImageUnavailable"


def test_a_failure_whose_time_argo_corrects_is_announced_once(cluster: Cluster) -> None:
    cluster.run("terminated")
    later = workflow("terminated", of=cluster.models["m"])
    for node in later["status"]["nodes"].values():
        node["finishedAt"] = "2026-11-24T08:00:00Z"
    cluster.put(later)
    cluster.look()
    assert cluster.status["lastFailure"]["time"] == "2026-11-24T08:00:00Z"
    assert cluster.reasons == ["Stalled", "StepFailed"]


def test_failure_retry_and_success_are_each_announced(cluster: Cluster) -> None:
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


def test_a_second_failure_of_the_same_kind_is_announced_again(cluster: Cluster) -> None:
    cluster.run("revision-missing")
    cluster.run("running")
    again = workflow("revision-missing", of=cluster.models["m"])
    for node in again["status"]["nodes"].values():
        node["finishedAt"] = "2026-11-24T08:00:00Z"
    cluster.put(again)
    cluster.look()
    assert cluster.reasons == ["Stalled", "Stalled", "StepFailed", "StepFailed"]


def test_a_new_generation_stops_the_old_run_and_gets_one_of_its_own(cluster: Cluster) -> None:
    cluster.run("running")
    cluster.put(model(generation=2))
    cluster.look()
    assert cluster.workflows[NAME]["spec"]["shutdown"] == "Stop"
    assert cluster.status["observedGeneration"] == 2
    assert "setDigest" not in cluster.status
    cluster.look(start=True)
    assert cluster.created == [workflow_name(UID, 2)]
    assert "shutdown" not in cluster.workflows[workflow_name(UID, 2)]["spec"]


def test_what_comes_late_of_an_older_generation_changes_nothing(cluster: Cluster) -> None:
    cluster.run("running")
    old = cluster.workflows[NAME]
    cluster.put(model(generation=2))
    cluster.run("running")
    before, writes = cluster.status, cluster.writes
    late = workflow("revision-missing", of=model())
    cluster.put(late)
    cluster.see(late)
    assert (cluster.status, cluster.writes) == (before, writes)
    cluster.see(old)  # still running: nobody waits for it
    assert cluster.workflows[NAME]["spec"] == {"shutdown": "Stop"}


def test_what_comes_late_of_a_model_of_the_same_name_changes_nothing(cluster: Cluster) -> None:
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


def test_a_workflow_that_has_ended_is_left_as_it_is(cluster: Cluster) -> None:
    ended = workflow("succeeded", of=cluster.models.pop("m"))
    cluster.put(ended)
    cluster.see(ended)
    stop_workflows(cluster.client, UID)
    assert "shutdown" not in cluster.workflows[NAME]["spec"]


def test_deleting_a_model_stops_all_of_its_workflows_and_no_others(cluster: Cluster) -> None:
    for wish in (model(), model(generation=2), model(uid="another")):
        cluster.put(workflow("running", of=wish))
    stop_workflows(cluster.client, UID)
    stopped = {name for name, each in cluster.workflows.items() if "shutdown" in each["spec"]}
    assert stopped == {NAME, workflow_name(UID, 2)}


def test_somebody_else_started_by_hand_beside_it_is_left_alone(cluster: Cluster) -> None:
    resubmitted = workflow("running", of=cluster.models["m"])
    resubmitted["metadata"]["name"] += "-again"
    cluster.put(resubmitted)
    cluster.see(resubmitted)
    assert "shutdown" not in resubmitted["spec"]
    assert cluster.writes == 0


def test_a_status_that_somebody_changed_meanwhile_is_computed_anew(cluster: Cluster) -> None:
    def somebody() -> None:
        cluster.before_write = lambda: None
        cluster.put(workflow("succeeded", of=cluster.models["m"]))
        cluster.touch(cluster.models["m"])

    cluster.before_write = somebody
    cluster.run("running")
    assert cluster.writes == 1
    assert cluster.true() >= {"Ready"}


def test_a_model_that_never_holds_still_is_given_up_for_now(cluster: Cluster) -> None:
    tries = []

    def restless() -> None:
        tries.append(1)
        cluster.touch(cluster.models["m"])

    cluster.before_write = restless
    cluster.run("succeeded")
    assert len(tries) == TRIES
    assert cluster.writes == 0
    assert cluster.reasons == ["Ready"]  # told once, and true


def test_killed_between_telling_and_writing_it_tells_nothing_twice(cluster: Cluster) -> None:
    def killed() -> None:
        raise KeyboardInterrupt

    cluster.before_write = killed
    with pytest.raises(KeyboardInterrupt):
        cluster.run("revision-missing")
    cluster.before_write = lambda: None
    cluster.look()
    assert cluster.reasons == ["Stalled", "StepFailed"]
    assert "Stalled" in cluster.true()


def test_an_event_is_about_the_model_and_short_enough(cluster: Cluster) -> None:
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
def test_a_model_is_waited_for_until_its_generation_is_finished(status: Object, expected: bool) -> None:
    assert unfinished({"generation": 2}, status) is expected


def test_a_model_that_is_gone_needs_nothing() -> None:
    cluster = Cluster()
    cluster.look(start=True)
    assert (cluster.created, cluster.writes) == ([], 0)
