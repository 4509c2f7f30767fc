"""From a Workflow to a Model's status, on Workflows of a real cluster."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crd.kubernetes_objects import ModelObject, ModelStatusObject, WorkflowObject
from crd.observe import spec_failure, status_of, stored_status, unfinished
from crd.pod_failures import reason_of_message
from crd.status import MAX_MESSAGE, Condition, ModelStatus, status_patch
from steps.core.errors import Reason
from tests.crd.recorded_workflows import FOLDER, TASKS, model, nodes, workflow

NOW, LATER = "2026-11-23T23:00:00Z", "2026-11-23T23:10:00Z"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
DONE = {"Accepted": "True", "Fetched": "True", "Verified": "True", "Packaged": "True", "Built": "False", "Ready": "True"}


def seen(name: str, *, generation: int = 1, before: ModelStatus | None = None, now: str = NOW) -> ModelStatus:
    found_model = model(generation=generation, status=before)
    return status_of(found_model, workflow(name, of=found_model), now)


def verdicts(status: ModelStatus) -> dict[str, str]:
    return {each.type: each.status for each in status.conditions}


def condition(status: ModelStatus, kind: str) -> Condition:
    return next(each for each in status.conditions if each.type == kind)


def test_a_succeeded_run_makes_the_model_ready() -> None:
    status = seen("succeeded", generation=3)
    assert verdicts(status) == DONE
    assert (status.observed_generation, status.finished_generation) == (3, 3)
    assert {each.observed_generation for each in status.conditions} == {3}
    assert status.revision == "c" * 40
    assert status.set_digest == f"sha256:{'a' * 64}"
    assert status.report == "runs/1"
    assert status.last_failure is None
    for task, service in zip(TASKS, status.services, strict=True):
        assert service.task == task
        assert (service.archive, service.archive_digest) == ("archive/archive", f"sha256:{'b' * 64}")
        assert (service.image, service.image_digest, service.latency_ms) == ("build/image", "", 7)


def test_each_service_gets_its_own_branchs_results() -> None:
    found_model = model()
    run = workflow("succeeded", of=found_model)
    for node in nodes(run, "archive"):
        [task] = (each["value"] for each in node["inputs"]["parameters"] if each["name"] == "service")
        for output in node["outputs"]["parameters"]:
            output["value"] = f"{task}-{output['name']}"
    assert [each.archive for each in status_of(found_model, run, NOW).services] == [f"{task}-archive" for task in TASKS]


def test_a_planned_image_is_not_built() -> None:
    assert condition(seen("succeeded"), "Built").reason == "Planned"
    found_model = model()
    run = workflow("succeeded", of=found_model)
    for node in nodes(run, "build"):
        for output in node["outputs"]["parameters"]:
            if output["name"] == "image_digest":
                output["value"] = f"sha256:{'d' * 64}"
    status = status_of(found_model, run, NOW)
    assert verdicts(status) == DONE | {"Built": "True"}
    assert {each.image_digest for each in status.services} == {f"sha256:{'d' * 64}"}


def left_to_cloud_build(run: WorkflowObject, **changes: object) -> None:
    """Make of a recorded run one whose images Cloud Build makes: what `build` says, and a step more in each branch."""
    for name, node in list(run["status"]["nodes"].items()):
        if node.get("templateName") == "build":
            node["outputs"]["parameters"].append({"name": "awaits", "value": "cloudbuild"})
            outputs = {"parameters": [{"name": "image_digest", "value": f"sha256:{'e' * 64}"}]}
            added = {"name": node["name"].replace(".build", ".cloudbuild"), "templateName": "cloudbuild", "outputs": outputs}
            run["status"]["nodes"][f"{name}-cloudbuild"] = json.loads(json.dumps({**node, **added, **changes}))


def test_images_of_cloud_build_are_built() -> None:
    found_model = model()
    run = workflow("succeeded", of=found_model)
    left_to_cloud_build(run)
    status = status_of(found_model, run, NOW)
    assert verdicts(status) == DONE | {"Built": "True"}
    assert {each.image_digest for each in status.services} == {f"sha256:{'e' * 64}"}


def test_a_build_in_cloud_build_is_running() -> None:
    found_model = model()
    run = workflow("succeeded", of=found_model)
    report = {"reason": "BuildRunning", "message": "Build b is WORKING.", "hint": "", "retryable": True}
    run["status"] |= {"phase": "Running", "finishedAt": None}
    run["status"]["nodes"][run["metadata"]["name"]] |= {"phase": "Running"}
    left_to_cloud_build(run, phase="Failed", message=f"main: Error (exit code 75): {json.dumps(report)}", outputs={})
    for node in nodes(run, "cloudbuild"):
        if node["type"] == "Retry":
            node |= {"phase": "Running"}
    status = status_of(found_model, run, NOW)
    assert (condition(status, "Built").status, condition(status, "Built").reason) == ("Unknown", "Running")
    assert condition(status, "Reconciling").reason == "BuildRunning"
    assert "Stalled" not in verdicts(status)


def test_a_running_model_reconciles_and_names_its_steps() -> None:
    status = seen("running")
    assert verdicts(status) == {
        "Accepted": "True",
        "Fetched": "True",
        "Verified": "True",
        "Packaged": "True",
        "Built": "Unknown",
        "Ready": "False",
        "Reconciling": "True",
    }
    doing = ", ".join(f"{task}/{step}" for task in sorted(TASKS) for step in ("build", "smoke"))
    assert condition(status, "Reconciling").message == f"Steps that are running: {doing}."
    assert {condition(status, kind).reason for kind in ("Built", "Ready", "Reconciling")} == {"Running"}
    assert status.finished_generation == 0
    assert status.set_digest
    assert [(each.archive, each.image) for each in status.services] == [("archive/archive", "")] * 2


def test_one_of_two_services_is_not_enough() -> None:
    found_model = model()
    run = workflow("succeeded", of=found_model)
    run["status"]["phase"] = "Running"
    for node in nodes(run, "archive"):
        if TASKS[1] in node["name"]:
            node["phase"] = "Running"
    packaged = condition(status_of(found_model, run, NOW), "Packaged")
    assert (packaged.status, packaged.message) == (
        "Unknown",
        "The step archive has not finished yet: 1 of 2 services are done.",
    )


def test_a_failed_step_stalls_with_its_own_message() -> None:
    status = seen("revision-missing")
    assert verdicts(status) == {
        "Accepted": "True",
        "Fetched": "False",
        "Verified": "False",
        "Packaged": "False",
        "Built": "False",
        "Ready": "False",
        "Stalled": "True",
    }
    for kind in ("Fetched", "Ready", "Stalled"):
        assert (condition(status, kind).reason, condition(status, kind).message) == (
            "RevisionNotFound",
            "fetch: There is no 'missing'.",
        )
    assert condition(status, "Verified").reason == "NotReached"
    assert status.finished_generation == 1
    failure = status.last_failure
    assert failure
    assert (failure.step, failure.reason, failure.hint) == ("fetch", Reason.REVISION_NOT_FOUND, "It has: main.")
    assert not failure.retryable
    [pod] = (node for node in nodes(workflow("revision-missing"), "fetch") if node["type"] == "Pod")
    assert failure.time == pod["finishedAt"]
    assert status.report == "runs/1"  # the report is written all the same


@pytest.mark.parametrize(
    ("name", "step", "reason", "retryable"),
    [
        ("out-of-memory", "fetch", Reason.OUT_OF_MEMORY, False),
        ("deadline", "fetch", Reason.DEADLINE_EXCEEDED, True),
        ("pod-forbidden", "fetch", Reason.POD_REFUSED, False),
        ("template-missing", "workflow", Reason.WORKFLOW_REFUSED, False),
        ("terminated", "fetch", Reason.TERMINATED, True),
    ],
)
def test_failures_without_a_report_have_reason_and_hint(name: str, step: str, reason: Reason, retryable: bool) -> None:
    status = seen(name)
    assert verdicts(status)["Stalled"] == "True"
    assert condition(status, "Ready").reason == reason
    failure = status.last_failure
    assert failure
    assert (failure.step, failure.reason, failure.retryable) == (step, reason, retryable)
    assert failure.message
    assert failure.hint


@pytest.mark.parametrize(
    ("name", "reason"), [("image-missing", Reason.IMAGE_UNAVAILABLE), ("setting-missing", Reason.POD_REFUSED)]
)
def test_a_pod_that_cannot_start_is_reported_early(name: str, reason: Reason) -> None:
    status = seen(name)
    assert verdicts(status)["Reconciling"] == "True"
    assert status.finished_generation == 0
    assert condition(status, "Ready").reason == reason
    assert status.last_failure
    assert (status.last_failure.step, status.last_failure.reason) == ("fetch", reason)
    assert status.last_failure.retryable


def test_a_pause_between_pulls_changes_nothing() -> None:
    found_model = model()
    run = workflow("image-missing", of=found_model)
    pulling = status_of(found_model, run, NOW)
    [node] = run["status"]["nodes"].values()
    node["message"] = f'ImagePullBackOff: Back-off pulling image "registry.example/slipway/none:0.1.0": {node["message"]}'
    assert status_of(found_model, run, NOW) == pulling


def test_a_missing_image_stays_the_reason_after_deadline() -> None:
    waiting = seen("image-missing")
    assert condition(seen("image-never-came"), "Ready").reason == Reason.DEADLINE_EXCEEDED  # all that Argo says in the end
    status = seen("image-never-came", before=waiting, now=LATER)
    for kind in ("Fetched", "Ready", "Stalled"):
        assert condition(status, kind).reason == Reason.IMAGE_UNAVAILABLE
        assert condition(status, kind).message == condition(waiting, "Ready").message
    assert status.finished_generation == 1
    assert status.last_failure
    assert (status.last_failure.reason, status.last_failure.retryable) == (Reason.IMAGE_UNAVAILABLE, False)
    assert status.last_failure.time > status.conditions[0].last_transition_time
    assert seen("image-never-came", before=status, now=LATER) == status


def test_a_started_step_keeps_its_deadline_reason() -> None:
    status = seen("deadline", before=seen("image-missing"))
    assert condition(status, "Ready").reason == Reason.DEADLINE_EXCEEDED


def test_causes_of_another_run_are_ignored() -> None:
    earlier = seen("image-missing")
    assert condition(seen("image-never-came", generation=2, before=earlier), "Ready").reason == Reason.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("ErrImagePull: rpc error: code = DeadlineExceeded desc = context deadline exceeded", Reason.IMAGE_UNAVAILABLE),
        ("The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 9Gi. ", Reason.POD_LOST),
        ("Preempted in order to admit critical pod", Reason.POD_LOST),
        ("Pod was terminated in response to imminent node shutdown.", Reason.POD_LOST),
        ('Usage of EmptyDir volume "tmp" exceeds the limit "20Gi". ', Reason.DISK_FULL),
        ("Pod ephemeral local storage usage exceeds the total limit of containers 20Gi. ", Reason.DISK_FULL),
        ('Container main exceeded its local ephemeral storage limit "20Gi". ', Reason.DISK_FULL),
        ("Pod was active on the node longer than the specified deadline", Reason.DEADLINE_EXCEEDED),
    ],
)
def test_each_kubelet_message_has_one_reason(message: str, reason: Reason) -> None:
    assert reason_of_message(message) is reason


def test_a_repeated_attempt_is_not_the_end() -> None:
    status = seen("pod-lost")
    assert verdicts(status)["Reconciling"] == "True"
    assert status.last_failure
    assert (status.last_failure.step, status.last_failure.reason) == ("fetch", Reason.POD_LOST)
    assert status.last_failure.retryable


def test_what_failed_and_then_succeeded_is_no_failure() -> None:
    found_model = model()
    run = workflow("pod-lost", of=found_model)
    for node in nodes(run, "fetch"):
        if node["phase"] == "Running":
            node["phase"] = "Succeeded"
    status = status_of(found_model, run, NOW)
    assert status.last_failure is None
    assert verdicts(status)["Fetched"] == "True"


def test_of_two_failures_the_first_one_counts() -> None:
    found_model = model()
    run = workflow("succeeded", of=found_model)
    run["status"]["phase"] = run["status"]["nodes"][run["metadata"]["name"]]["phase"] = "Failed"
    for step, reason, time in (("smoke", "SmokeMismatch", "10:00:02"), ("build", "BuildFailed", "10:00:01")):
        report = {"reason": reason, "message": "It is so.", "hint": "Do.", "retryable": False}
        for node in nodes(run, step):
            message = f"main: Error (exit code 15): {json.dumps(report)}\n" if node["type"] == "Pod" else "No more retries left"
            node |= {"phase": "Failed", "message": message, "finishedAt": f"2026-11-23T{time}Z"}
    status = status_of(found_model, run, NOW)
    assert status.last_failure
    assert (status.last_failure.step, status.last_failure.reason) == ("image-classification/build", "BuildFailed")
    assert condition(status, "Built").reason == "BuildFailed"
    assert condition(status, "Ready").reason == "BuildFailed"
    assert condition(status, "Packaged").status == "True"


def test_a_failed_report_leaves_the_model_ready() -> None:
    found_model = model()
    run = workflow("succeeded", of=found_model)
    run["status"] |= {"phase": "Failed", "message": "main: Error (exit code 16)"}
    for node in nodes(run, "report"):
        node |= {"phase": "Failed", "message": "main: Error (exit code 16)"}
    status = status_of(found_model, run, NOW)
    assert verdicts(status) == DONE
    assert status.finished_generation == 1
    assert status.report == ""
    assert status.last_failure
    assert status.last_failure.step == "report"


@pytest.mark.parametrize(
    "text", ['{"reason": "Revis', '{"reason": "NeverHeardOf"}', "{" * 4000, '{"a":' + "[" * 4000, '{"a": 1}']
)
def test_a_cut_report_is_still_a_failure(text: str) -> None:
    found_model = model()
    run = workflow("revision-missing", of=found_model)
    for node in nodes(run, "fetch"):
        if node["type"] == "Pod":
            node["message"] = f"main: Error (exit code 10): {text}"
    failure = status_of(found_model, run, NOW).last_failure
    assert failure
    assert failure.reason == Reason.INTERNAL_ERROR
    assert failure.message.startswith("main: Error (exit code 10): ")
    assert len(failure.message) <= MAX_MESSAGE


@pytest.mark.parametrize(
    ("code", "reason"), [("139", Reason.LOAD_FAILED), ("137", Reason.POD_LOST), ("1", Reason.INTERNAL_ERROR)]
)
def test_exit_codes_of_silent_steps_have_reasons(code: str, reason: Reason) -> None:
    found_model = model()
    run = workflow("revision-missing", of=found_model)
    for node in nodes(run, "fetch"):
        if node["type"] == "Pod":
            node["message"] = f"main: Error (exit code {code})"
            node["outputs"] = {"exitCode": code}
    failure = status_of(found_model, run, NOW).last_failure
    assert failure
    assert failure.reason == reason


def test_control_characters_do_not_reach_the_status() -> None:
    found_model = model()
    run = workflow("revision-missing", of=found_model)
    report = {"reason": "SourceProtocol", "message": "\x1b[2J" + "x" * 5000, "hint": "\x07", "retryable": False}
    for node in nodes(run, "fetch"):
        if node["type"] == "Pod":
            node["message"] = f"main: Error (exit code 10): {json.dumps(report)}"
    text = json.dumps(status_patch(status_of(found_model, run, NOW)), ensure_ascii=False)
    assert "\x1b" not in text
    assert "\\u001b" not in text
    assert "x…" in text


def test_without_a_workflow_the_model_is_starting() -> None:
    status = status_of(model(generation=2), None, NOW)
    assert verdicts(status)["Reconciling"] == "True"
    assert {condition(status, kind).reason for kind in ("Ready", "Reconciling")} == {"Starting"}
    assert {condition(status, kind).status for kind in ("Fetched", "Verified", "Packaged", "Built")} == {"Unknown"}
    assert (status.observed_generation, status.finished_generation) == (2, 0)


def test_an_invalid_spec_stalls_the_model() -> None:
    found_model = model(services=("no-such-task",))
    status = status_of(found_model, None, NOW)
    assert (verdicts(status)["Accepted"], verdicts(status)["Stalled"]) == ("False", "True")
    assert condition(status, "Stalled").reason == Reason.INVALID_MANIFEST
    assert condition(status, "Stalled").message.startswith("spec.services: ")
    assert status.finished_generation == 1
    assert status.workflow == ""
    assert spec_failure(model()["spec"]) is None


def test_a_builder_without_its_program_stalls_the_model() -> None:
    status = status_of(model(builder="local"), None, NOW)
    assert (verdicts(status)["Accepted"], verdicts(status)["Stalled"]) == ("False", "True")
    for kind in ("Accepted", "Ready", "Stalled"):
        assert condition(status, kind).reason == Reason.BUILDER_MISSING
        assert "plan" in condition(status, kind).message
    assert (status.finished_generation, status.workflow) == (1, "")
    assert status.last_failure
    assert "`builder: plan`" in status.last_failure.hint
    assert "`slipway run`" in status.last_failure.hint
    corrected = status_of(model(generation=2, builder="oci", status=status), None, LATER)
    assert verdicts(corrected)["Accepted"] == "True"
    assert corrected.workflow


def test_a_finished_generation_keeps_its_status() -> None:
    before = seen("succeeded", generation=2)
    assert status_of(model(generation=2, status=before), None, LATER) == before
    # Rules that became stricter since then change nothing about it.
    assert status_of(model(generation=2, status=before, services=("no-such-task",)), None, LATER) == before


def test_a_new_generation_begins_anew() -> None:
    before = seen("succeeded")
    after = status_of(model(generation=2, status=before), None, LATER)
    assert (after.observed_generation, after.finished_generation) == (2, 1)
    assert after.services == ()
    assert verdicts(after)["Ready"] == "False"
    assert condition(after, "Ready").last_transition_time == LATER
    assert condition(after, "Accepted").last_transition_time == NOW


def test_a_retried_run_may_become_ready() -> None:
    stalled = seen("revision-missing", generation=2)
    again = seen("running", generation=2, before=stalled, now=LATER)
    assert (stalled.finished_generation, again.finished_generation) == (2, 1)
    assert "Stalled" not in verdicts(again)
    assert again.last_failure is None
    ready = seen("succeeded", generation=2, before=again, now=LATER)
    assert verdicts(ready) == DONE
    assert ready.finished_generation == 2


def test_an_unchanged_condition_keeps_its_time() -> None:
    running = seen("running")
    later = seen("succeeded", before=running, now=LATER)
    for kind in ("Accepted", "Fetched", "Verified", "Packaged"):
        assert condition(later, kind).last_transition_time == NOW
    for kind in ("Built", "Ready"):
        assert condition(later, kind).last_transition_time == LATER


@pytest.mark.parametrize("name", NAMES)
def test_looking_again_changes_nothing(name: str) -> None:
    status = seen(name)
    assert seen(name, before=status, now=LATER) == status


def with_status(stored: dict[str, object]) -> ModelObject:
    """A Model with this status in the API server, whoever wrote it."""
    return {**model(), "status": cast(ModelStatusObject, stored)}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_what_is_read(name: str) -> None:
    status = seen(name)
    stored = {key: value for key, value in status_patch(status).items() if value is not None}
    assert stored_status(with_status(stored)) == status


def test_an_empty_field_is_removed() -> None:
    patch = status_patch(seen("succeeded"))
    assert patch["lastFailure"] is None
    assert set(patch) == {field.alias for field in ModelStatus.model_fields.values()}


def test_another_versions_status_keeps_the_finished_generation() -> None:
    assert stored_status(with_status({"finishedGeneration": 4, "colour": "red"})).finished_generation == 4
    assert stored_status(with_status({"finishedGeneration": "four"})).finished_generation == 0
    assert stored_status(with_status({})) == ModelStatus()


@pytest.mark.parametrize(
    ("name", "expected"), [("running", True), ("pod-lost", True), ("succeeded", False), ("terminated", False)]
)
def test_a_workflow_is_finished_when_argo_says_so(name: str, expected: bool) -> None:
    assert unfinished(workflow(name)) is expected


PHASES = st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Error", "Omitted"])
MESSAGES = st.one_of(
    st.text(max_size=80), st.sampled_from(["pod deleted", "OOMKilled", 'main: Error (exit code 2): {"reason":'])
)


@pytest.mark.slow
@given(data=st.data(), name=st.sampled_from(NAMES), phase=st.sampled_from(["", "Running", "Succeeded", "Failed", "Error"]))
def test_any_workflow_gives_one_stable_status(data: st.DataObject, name: str, phase: str) -> None:
    found_model = model()
    run = shaken(workflow(name, of=found_model), phase, data)
    status = status_of(found_model, run, NOW)
    statuses = verdicts(status)
    assert len(statuses) == len(status.conditions)
    ended = phase in ("Succeeded", "Failed", "Error")
    assert ("Reconciling" in statuses) is not ended
    assert (statuses["Ready"] == "True") + ("Stalled" in statuses) == (1 if ended else 0)
    assert (status.finished_generation == 1) is ended
    assert status_of(model(status=status), run, LATER) == status


def shaken(run: WorkflowObject, phase: str, data: st.DataObject) -> WorkflowObject:
    """The same nodes with other phases and messages."""
    run["status"]["phase"] = phase
    for node in run["status"].get("nodes", {}).values():
        node["phase"] = data.draw(PHASES)
        node["message"] = data.draw(MESSAGES)
    return run


def test_what_auto_means_is_read_from_fetch() -> None:
    found_model = model(services=("auto",))
    found = workflow("succeeded", of=found_model)
    for node in nodes(found, "fetch"):
        node["outputs"]["parameters"] += [{"name": "services", "value": json.dumps(list(TASKS))}]
    assert [each.task for each in status_of(found_model, found, NOW).services] == list(TASKS)
    assert status_of(found_model, None, NOW).services == ()
