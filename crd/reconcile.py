"""What the operator does when it looks at a Model: compare, write what changed, start or stop Workflows.

Level-triggered: each function reads the cluster as it is and returns where nothing is left to do, so it may be called at any
time, twice at once, and be killed at any line. What another did first is not an error: an object that is gone, a name that is
taken, a version of the Model that is not the newest any more. Any other failure is raised, and the caller looks again later.

The client that is passed is one for the Model's namespace. ``pipelines.access`` grants the operator the requests that are made
here, and no others.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from crd.events import ModelEvent, event_manifest, events_between, workflow_created
from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_errors import KubernetesError
from crd.kubernetes_objects import KubernetesObject, ModelObject, WorkflowObject
from crd.observe import status_of, stored_status, unfinished
from crd.resource_kinds import MODEL, WORKFLOW
from crd.status import ModelStatus, status_patch
from crd.workflow import GENERATION_LABEL, MODEL_LABEL, UID_LABEL, thin_workflow, workflow_name

LOG = logging.getLogger(__name__)
TRIES = 5  # a status that somebody else changed meanwhile is computed anew; the timer looks again in any case


def reconcile(client: KubernetesClient, name: str, *, start: bool = False) -> None:
    """Bring the status of the Model of this name up to date.

    With ``start``, also create its Workflow if nothing else has created it.
    """
    for _ in range(TRIES):
        model = client.find(MODEL, name)
        if model is None or model["metadata"].get("deletionTimestamp"):
            return
        generation, uid = int(model["metadata"]["generation"]), model["metadata"]["uid"]
        before = stored_status(model)
        # Read after the Model: a status that is written on top of this version of the Model can then not be older than the
        # status in that version.
        wanted = workflow_name(uid, generation)
        workflow = client.find(WORKFLOW, wanted)
        after = status_of(model, workflow, _now())
        if before.observed_generation < generation:
            stop_workflows(client, uid, but=wanted)
        if start and workflow is None and after.finished_generation < generation:
            new = _create_workflow(client, model)
            if new is not None:
                _emit(client, model, workflow_created(new["metadata"]["name"], new["metadata"]["uid"]))
        if after == before:
            return
        for event in events_between(before, after):
            _emit(client, model, event)
        if _write_status(client, model, after):
            return


def reconcile_workflow(client: KubernetesClient, workflow: WorkflowObject) -> None:
    """Bring the Model of a Workflow up to date; stop a Workflow whose Model is gone or has changed since."""
    metadata = workflow["metadata"]
    labels = metadata["labels"]
    model = client.find(MODEL, labels[MODEL_LABEL])
    if model is None or not _belongs_to(labels, model):
        if unfinished(workflow):
            _stop_workflow(client, metadata["name"])
    elif metadata["name"] == workflow_name(labels[UID_LABEL], int(model["metadata"]["generation"])):
        reconcile(client, labels[MODEL_LABEL])


def stop_workflows(client: KubernetesClient, uid: str, *, but: str = "") -> None:
    """Stop what still runs for the Model of this uid, but for the Workflow of this name."""
    for workflow in client.list_objects(WORKFLOW, labels=f"{UID_LABEL}={uid}"):
        if unfinished(workflow) and workflow["metadata"]["name"] != but:
            _stop_workflow(client, workflow["metadata"]["name"])


def _belongs_to(labels: Mapping[str, str], model: ModelObject) -> bool:
    """Whether a Workflow with these labels is for the Model as it is now, and not for an earlier one."""
    metadata = model["metadata"]
    same = labels[UID_LABEL] == metadata["uid"] and labels.get(GENERATION_LABEL) == str(metadata["generation"])
    return same and not metadata.get("deletionTimestamp")


def _create_workflow(client: KubernetesClient, model: ModelObject) -> KubernetesObject | None:
    """The new Workflow of a Model; None where one of its name is there already."""
    try:
        return client.create(thin_workflow(model))
    except KubernetesError as error:
        _expect(error, HTTPStatus.CONFLICT)
        return None


def _stop_workflow(client: KubernetesClient, name: str) -> None:
    """Stop a Workflow; its exit handler still runs. One that is gone is stopped."""
    try:
        client.patch(WORKFLOW, name, {"spec": {"shutdown": "Stop"}})
    except KubernetesError as error:
        _expect(error, HTTPStatus.NOT_FOUND)


def _write_status(client: KubernetesClient, model: ModelObject, status: ModelStatus) -> bool:
    """Whether the status was written; not where the stored Model is another than this one, or newer."""
    metadata = model["metadata"]
    # With uid and resourceVersion the API server refuses a patch for any other version of the Model, or another Model.
    precondition = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    try:
        client.patch_status(MODEL, metadata["name"], {"metadata": precondition, "status": status_patch(status)})
    except KubernetesError as error:
        if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:  # it would be refused each time
            _log_refused(client.namespace, metadata["name"], metadata["uid"], int(metadata["generation"]))
            return True
        _expect(error, HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)
        return False
    return True


@functools.lru_cache(maxsize=10_000)
def _log_refused(namespace: str, name: str, uid: str, generation: int) -> None:
    """Write one line for a generation whose status is not taken: API servers before 1.30 check the whole object again."""
    del uid, generation
    LOG.error("%s/%s: The API server refuses its status: the stored Model does not follow the CRD's rules.", namespace, name)


def _emit(client: KubernetesClient, model: ModelObject, event: ModelEvent) -> None:
    """Create a Kubernetes event about the Model, unless the same event is there already."""
    try:
        client.create(event_manifest(model, event, _now()))
    except KubernetesError as error:
        _expect(error, HTTPStatus.CONFLICT)
        return
    LOG.info("%s/%s: %s: %s", client.namespace, model["metadata"]["name"], event.reason, event.message)


def _expect(error: KubernetesError, *statuses: HTTPStatus) -> None:
    """Raise the error unless it has one of these status codes."""
    if error.status not in statuses:
        raise error


def _now() -> str:
    """The time, as Kubernetes writes it: RFC 3339, in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
