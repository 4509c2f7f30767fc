"""What ``kubectl describe model`` lists under Events: the turns that a run took.

Each event's name is a function of what it tells. Telling it again, after a crash or by two threads at once, is refused by the
API server as a duplicate: so a change is announced before it is written down, and announced once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crd.observe import MANIFEST
from crd.status import Condition, ConditionType, LastFailure, ModelStatus
from crd.types import API_VERSION, KIND

COMPONENT = "slipway-operator"
MAX_NOTE = 1024  # of core/v1 Event.message


@dataclass(frozen=True)
class Announcement:
    """One event to be. ``identity`` tells it from others about the same object."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    identity: tuple[str | int, ...]


def changes(before: ModelStatus, after: ModelStatus) -> list[Announcement]:
    """What to announce when a status turns into another one: a failed try, and how the run ended."""
    found = []
    generation, failure = after.observed_generation, after.last_failure
    if failure and failure.step != MANIFEST and not _same_failure(before.last_failure, failure):
        text = f"{failure.step}: {failure.reason}: {failure.message} Hint: {failure.hint}"
        found.append(Announcement("Warning", "StepFailed", text, (generation, failure.step, failure.reason, failure.time)))
    if (ready := _true(after, ConditionType.READY)) and not _same(before, after, ConditionType.READY):
        found.append(Announcement("Normal", "Ready", ready.message, (generation, after.workflow)))
    if (stalled := _true(after, ConditionType.STALLED)) and not _same(before, after, ConditionType.STALLED):
        identity = (generation, after.workflow, failure.time if failure and after.workflow else "")
        found.append(Announcement("Warning", "Stalled", f"{stalled.reason}: {stalled.message}", identity))
    return found


def created(workflow: str, uid: str) -> Announcement:
    """The operator has created a Workflow itself."""
    return Announcement("Normal", "WorkflowCreated", f"Created the Workflow {workflow}, because there was none.", (uid,))


def manifest(model: Mapping[str, Any], announcement: Announcement, now: str) -> dict[str, Any]:
    """The event as the API server takes it (core/v1 Event)."""
    metadata = model["metadata"]
    identity = "/".join(map(str, (metadata["uid"], announcement.reason, *announcement.identity)))
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
        "type": announcement.type,
        "reason": announcement.reason,
        "message": announcement.message[:MAX_NOTE],
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
