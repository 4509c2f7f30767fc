"""What a failed pod means: its message, read.

A step says why it fails as one JSON line in its termination log (``steps.command.main.tell``). Argo 3.7 hands it on as the
node's message: ``main: Error (exit code 10): {"reason":…}``. A pod that could not say anything has a message of Argo or of the
kubelet, which is recognised here; the texts were taken from Argo 3.7.15 on Kubernetes 1.34.
"""

from __future__ import annotations

import json

from crd.workflow_nodes import Try
from steps.core.errors import Reason
from steps.core.receipts import Failure

# In order: the first text that the message holds decides.
SIGNS: tuple[tuple[Reason, tuple[str, ...]], ...] = (
    # Before the deadline: a pull may fail because a deadline of its own has passed.
    (Reason.IMAGE_UNAVAILABLE, ("ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName")),
    (Reason.OUT_OF_MEMORY, ("OOMKilled",)),
    (Reason.TERMINATED, ("shutdown with strategy", "Stopped with strategy")),
    (Reason.DEADLINE_EXCEEDED, ("deadline",)),
    # Before the disk: of a node that ran out of it any pod may be the victim.
    (
        Reason.POD_LOST,
        ("The node was low on resource", "pod deleted", "evicted", "Evicted", "preempt", "Preempt", "node shutdown"),
    ),
    (Reason.DISK_FULL, ("ephemeral local storage", "local ephemeral storage", "Usage of EmptyDir volume")),
    (Reason.POD_REFUSED, ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "is forbidden")),
)
# What keeps a pod from starting although the kubelet goes on trying: a person should know before the deadline does.
NOT_STARTING = frozenset({Reason.IMAGE_UNAVAILABLE, Reason.POD_REFUSED})
PULL_ERROR = "ErrImagePull: "
KILLED, TERMINATED = "137", "143"
# Where a reason's own hint speaks of a command, and a run in the cluster has another one.
HINTS = {Reason.TERMINATED: "`slipway retry NAME` lets it go on where it stopped."}


def read_failure(attempt: Try) -> Failure:
    """Why this try failed, in the step's own words if it had any."""
    said = _own_words(attempt.message)
    if said is not None:
        return said
    reason = recognise(attempt.message)
    if reason is None:
        reason = {KILLED: Reason.POD_LOST, TERMINATED: Reason.TERMINATED}.get(attempt.exit_code, Reason.INTERNAL_ERROR)
    return plain(reason, attempt.message or "The pod failed, and nobody says why.")


def why_it_waits(attempt: Try) -> Failure | None:
    """The failure of a pod that cannot start; None where it merely takes its time."""
    reason = recognise(attempt.message) if attempt.phase == "Pending" else None
    if reason not in NOT_STARTING:
        return None
    # The kubelet turns between the error and the pause before the next try; the error is in both.
    message = PULL_ERROR + attempt.message.rpartition(PULL_ERROR)[2] if PULL_ERROR in attempt.message else attempt.message
    return plain(reason, message, retryable=True)


def refused(message: str) -> Failure:
    """The failure of a Workflow that ended before it had a pod."""
    reason = recognise(message) or Reason.WORKFLOW_REFUSED
    return plain(reason, message or "The Workflow ended before its first step, and does not say why.")


def recognise(message: str) -> Reason | None:
    """The reason behind a text of Argo or the kubelet."""
    return next((reason for reason, signs in SIGNS if any(sign in message for sign in signs)), None)


def plain(reason: Reason, message: str, *, hint: str = "", retryable: bool | None = None) -> Failure:
    """A failure that no step has put into words."""
    return Failure(
        reason=reason,
        message=message,
        hint=hint or HINTS.get(reason, reason.hint),
        retryable=reason.retryable if retryable is None else retryable,
    )


def _own_words(message: str) -> Failure | None:
    try:
        value, _ = json.JSONDecoder().raw_decode(message[message.index("{") :])
        return Failure.model_validate(value)
    except (ValueError, RecursionError):  # no JSON, half of one, or one of somebody else
        return None
