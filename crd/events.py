"""The Kubernetes events about a Model, which ``kubectl describe model`` lists: failed attempts, and how a run ended.

The name of an event is a function of its content. Creating the same event again, after a crash or by two threads at once, is
refused by the API server as a duplicate. So the events of a change are created before its status is written, and each is
created once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from crd.kubernetes_objects import EventObject, ModelObject
from crd.observe import MANIFEST
from crd.status import Condition, ConditionType, LastFailure, ModelStatus
from crd.types import API_VERSION, KIND

COMPONENT = "slipway-operator"
MAX_MESSAGE = 1024  # characters of an event's message, by the API server's validation of core/v1 Event


@dataclass(frozen=True)
class ModelEvent:
    """An event about a Model. ``identity`` is what tells it from other events of the same reason about the same Model."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    identity: tuple[str | int, ...]


def events_between(before: ModelStatus, after: ModelStatus) -> list[ModelEvent]:
    """The events for a change from one status to another: a failed attempt, and how the run ended."""
    found = []
    generation, failure = after.observed_generation, after.last_failure
    if failure and failure.step != MANIFEST and not _same_failure(before.last_failure, failure):
        text = f"{failure.step}: {failure.reason}: {failure.message} Hint: {failure.hint}"
        found.append(ModelEvent("Warning", "StepFailed", text, (generation, failure.step, failure.reason, failure.time)))
    if (ready := _true(after, ConditionType.READY)) and not _same(before, after, ConditionType.READY):
        found.append(ModelEvent("Normal", "Ready", ready.message, (generation, after.workflow)))
    if (stalled := _true(after, ConditionType.STALLED)) and not _same(before, after, ConditionType.STALLED):
        identity = (generation, after.workflow, failure.time if failure and after.workflow else "")
        found.append(ModelEvent("Warning", "Stalled", f"{stalled.reason}: {stalled.message}", identity))
    return found


def workflow_created(workflow: str, uid: str) -> ModelEvent:
    """The event that the operator has created the Workflow of this name and uid itself."""
    return ModelEvent("Normal", "WorkflowCreated", f"Created the Workflow {workflow}, because it did not exist.", (uid,))


def event_manifest(model: ModelObject, event: ModelEvent, now: str) -> EventObject:
    """The event as the API server takes it (core/v1 Event); ``now`` is RFC 3339."""
    metadata = model["metadata"]
    identity = "/".join(map(str, (metadata["uid"], event.reason, *event.identity)))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name']}.{hashlib.sha256(identity.encode()).hexdigest()[:16]}",
            "namespace": metadata["namespace"],
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:MAX_MESSAGE],
        "source": {"component": COMPONENT},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _true(status: ModelStatus, kind: ConditionType) -> Condition | None:
    return next((each for each in status.conditions if each.type == kind and each.status == "True"), None)


def _same_failure(before: LastFailure | None, after: LastFailure) -> bool:
    """Argo corrects the time at which a pod ended, a next try may fail as the last one did, and a wait may end in vain."""
    return before is not None and before.model_copy(update={"time": after.time, "retryable": after.retryable}) == after


def _same(before: ModelStatus, after: ModelStatus, kind: ConditionType) -> bool:
    return before.observed_generation == after.observed_generation and _true(before, kind) is not None
