"""What the operator does when it looks at a Model: compare, write what changed, start or stop Workflows.

Level-triggered: each function reads the cluster as it is and ends where nothing is left to do, so it may be called at any time,
twice at once, and be killed at any line. The cluster is behind a small interface (``crd.api_server`` talks to a real one).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from crd.events import Announcement, changes, created
from crd.observe import status_of, stored_status, unfinished
from crd.status import ModelStatus
from crd.workflow import GENERATION_LABEL, MODEL_LABEL, UID_LABEL, thin_workflow, workflow_name

Object = Mapping[str, Any]
TRIES = 5  # a status that somebody else changed meanwhile is computed anew; the timer looks again in any case


class Cluster(Protocol):
    """What the operator may do in the cluster."""

    def model(self, namespace: str, name: str) -> Object | None: ...

    def workflow(self, namespace: str, name: str) -> Object | None: ...

    def workflows_of(self, namespace: str, uid: str) -> list[Object]:
        """All Workflows that carry the Model's uid."""
        ...

    def create_workflow(self, workflow: Object) -> Object | None:
        """The new Workflow; None where one of this name is there already."""
        ...

    def stop_workflow(self, namespace: str, name: str) -> None:
        """Stop it; its exit handler still cleans up behind it. One that is gone is stopped."""
        ...

    def write_status(self, model: Object, status: ModelStatus) -> bool:
        """Whether it was written: False where the Model is not any more what was read."""
        ...

    def announce(self, model: Object, announcement: Announcement) -> None:
        """Emit a Kubernetes event, once."""
        ...


def reconcile(cluster: Cluster, namespace: str, name: str, *, start: bool = False) -> None:
    """Bring the status of a Model up to date. With ``start``, create the Workflow that nobody else has created."""
    for _ in range(TRIES):
        model = cluster.model(namespace, name)
        if model is None or model["metadata"].get("deletionTimestamp"):
            return
        generation, uid = int(model["metadata"]["generation"]), model["metadata"]["uid"]
        before = stored_status(model)
        # Read after the Model: a status that is written on top of this Model's version can then not be older than what
        # that version told.
        wanted = workflow_name(uid, generation)
        workflow = cluster.workflow(namespace, wanted)
        after = status_of(model, workflow, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        if before.observed_generation < generation:
            stop_all(cluster, namespace, uid, but=wanted)
        if start and workflow is None and after.finished_generation < generation:
            new = cluster.create_workflow(thin_workflow(model))
            if new is not None:
                cluster.announce(model, created(new["metadata"]["name"], new["metadata"]["uid"]))
        if after == before:
            return
        for announcement in changes(before, after):
            cluster.announce(model, announcement)
        if cluster.write_status(model, after):
            return


def follow(cluster: Cluster, workflow: Object) -> None:
    """Bring the Model of a Workflow up to date; stop a Workflow whose Model is gone or wants something else by now."""
    metadata = workflow["metadata"]
    namespace, labels = metadata["namespace"], metadata["labels"]
    model = cluster.model(namespace, labels[MODEL_LABEL])
    if model is None or not _serves(labels, model):
        if unfinished(workflow):
            cluster.stop_workflow(namespace, metadata["name"])
    elif metadata["name"] == workflow_name(labels[UID_LABEL], int(model["metadata"]["generation"])):
        reconcile(cluster, namespace, labels[MODEL_LABEL])


def _serves(labels: Mapping[str, str], model: Object) -> bool:
    """Whether a Workflow with these labels is for the Model as it is now, and not for one before it."""
    metadata = model["metadata"]
    same = labels[UID_LABEL] == metadata["uid"] and labels.get(GENERATION_LABEL) == str(metadata["generation"])
    return same and not metadata.get("deletionTimestamp")


def stop_all(cluster: Cluster, namespace: str, uid: str, *, but: str = "") -> None:
    """Stop what still runs for a Model, but for the Workflow of this name."""
    for workflow in cluster.workflows_of(namespace, uid):
        if unfinished(workflow) and workflow["metadata"]["name"] != but:
            cluster.stop_workflow(namespace, workflow["metadata"]["name"])
