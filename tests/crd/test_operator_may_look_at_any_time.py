"""What the operator does to a cluster: it may look at any time, twice at once, be killed anywhere, and come too late."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from crd.api_server import status_patch
from crd.events import Announcement, manifest
from crd.operator import unfinished
from crd.reconcile import TRIES, follow, reconcile, stop_all
from crd.status import ModelStatus
from crd.workflow import UID_LABEL, thin_workflow, workflow_name
from tests.crd.recorded import UID, Object, model, workflow

NAME = workflow_name(UID, 1)


@dataclass
class Cluster:
    """The API server's rules that matter here: names are taken once, and a stale patch is refused.

    ``before_write`` is called in front of each write of a status: what somebody else does in that moment.
    """

    models: dict[str, Object] = field(default_factory=dict)
    workflows: dict[str, Object] = field(default_factory=dict)
    events: dict[str, Object] = field(default_factory=dict)
    writes: int = 0
    created: list[str] = field(default_factory=list)
    before_write: Callable[[], None] = lambda: None

    def model(self, namespace: str, name: str) -> Object | None:
        return copy.deepcopy(self.models.get(name))

    def workflow(self, namespace: str, name: str) -> Object | None:
        return copy.deepcopy(self.workflows.get(name))

    def workflows_of(self, namespace: str, uid: str) -> list[Any]:
        return [each for each in self.workflows.values() if each["metadata"]["labels"][UID_LABEL] == uid]

    def create_workflow(self, workflow: Any) -> Object | None:
        name = workflow["metadata"]["name"]
        if name in self.workflows:
            return None
        self.created.append(name)
        self.workflows[name] = copy.deepcopy(workflow)
        self.workflows[name]["metadata"]["uid"] = f"uid-{len(self.created)}"
        return self.workflows[name]

    def stop_workflow(self, namespace: str, name: str) -> None:
        if name in self.workflows:
            self.workflows[name]["spec"]["shutdown"] = "Stop"

    def write_status(self, model: Any, status: ModelStatus) -> bool:
        self.before_write()
        stored = self.models.get(model["metadata"]["name"])
        if stored is None or any(stored["metadata"][key] != model["metadata"][key] for key in ("uid", "resourceVersion")):
            return False
        self.writes += 1
        stored["status"] = {key: value for key, value in status_patch(status).items() if value is not None}
        self.touch(stored)
        return True

    def announce(self, model: Any, announcement: Announcement) -> None:
        event = manifest(model, announcement, "2026-11-23T23:00:00Z")
        self.events.setdefault(event["metadata"]["name"], event)

    def touch(self, stored: Object) -> None:
        stored["metadata"]["resourceVersion"] = str(int(stored["metadata"]["resourceVersion"]) + 1)

    def put(self, new: Object) -> None:
        """A person applies a Model, or Argo writes a Workflow."""
        if new["kind"] == "Workflow":
            self.workflows[new["metadata"]["name"]] = new
            return
        name = new["metadata"]["name"]
        new["status"] = self.models.get(name, new)["status"]
        self.models[name] = new

    def look(self, *, start: bool = False) -> None:
        reconcile(self, "lab", "m", start=start)

    def run(self, name: str) -> None:
        """The Workflow of the Model comes to where the recorded one is, and the operator hears of it."""
        wish = self.models["m"]
        self.put(workflow(name, of=wish))
        follow(self, self.workflows[workflow_name(wish["metadata"]["uid"], wish["metadata"]["generation"])])

    @property
    def status(self) -> Object:
        return dict(self.models["m"]["status"])

    @property
    def reasons(self) -> list[str]:
        return sorted(each["reason"] for each in self.events.values())

    def true(self) -> set[str]:
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
    sensors = thin_workflow(model()) | {"status": {}}

    class Late(Cluster):
        def workflow(self, namespace: str, name: str) -> Object | None:
            found = super().workflow(namespace, name)
            self.put(sensors)
            return found

    late = Late(cluster.models)
    late.look(start=True)
    assert late.created == []
    assert late.reasons == []


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
    follow(cluster, late)
    assert (cluster.status, cluster.writes) == (before, writes)
    follow(cluster, old)  # still running: nobody waits for it
    assert cluster.workflows[NAME]["spec"] == {"shutdown": "Stop"}


def test_what_comes_late_of_a_model_of_the_same_name_changes_nothing(cluster: Cluster) -> None:
    old = workflow("running", of=model(uid="another"))
    cluster.put(old)
    follow(cluster, old)
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
    follow(cluster, orphan)
    assert cluster.workflows[NAME]["spec"]["shutdown"] == "Stop"
    assert cluster.writes == 0


def test_a_workflow_that_has_ended_is_left_as_it_is(cluster: Cluster) -> None:
    ended = workflow("succeeded", of=cluster.models.pop("m"))
    cluster.put(ended)
    follow(cluster, ended)
    stop_all(cluster, "lab", UID)
    assert "shutdown" not in cluster.workflows[NAME]["spec"]


def test_deleting_a_model_stops_all_of_its_workflows_and_no_others(cluster: Cluster) -> None:
    for wish in (model(), model(generation=2), model(uid="another")):
        cluster.put(workflow("running", of=wish))
    stop_all(cluster, "lab", UID)
    stopped = {name for name, each in cluster.workflows.items() if "shutdown" in each["spec"]}
    assert stopped == {NAME, workflow_name(UID, 2)}


def test_somebody_else_started_by_hand_beside_it_is_left_alone(cluster: Cluster) -> None:
    resubmitted = workflow("running", of=cluster.models["m"])
    resubmitted["metadata"]["name"] += "-again"
    cluster.put(resubmitted)
    follow(cluster, resubmitted)
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
