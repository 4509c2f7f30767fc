"""What a failed pod means: its message, as a reason with a hint.

A step reports why it fails as one JSON line in its termination log (``steps.command``). Argo 3.7 passes it on as the message of
the pod's node: ``main: Error (exit code 10): {"reason":…}``. A pod that could not report anything has a message of Argo or of
the kubelet, which is recognised here; the texts are those of Argo 3.7.15 on Kubernetes 1.34.
"""

from __future__ import annotations

import json

from crd.workflow_nodes import Attempt, WorkflowRun
from steps.core.errors import Reason
from steps.core.receipts import Failure

# Texts in messages of Argo and of the kubelet, with the reason that they stand for. The first text that a message has decides.
MESSAGE_REASONS: tuple[tuple[Reason, tuple[str, ...]], ...] = (
    # Before the deadline: a pull may fail because a deadline of its own has passed.
    (Reason.IMAGE_UNAVAILABLE, ("ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName")),
    (Reason.OUT_OF_MEMORY, ("OOMKilled",)),
    (Reason.TERMINATED, ("shutdown with strategy", "Stopped with strategy")),
    (Reason.DEADLINE_EXCEEDED, ("deadline",)),
    # Before the disk: when a node runs out of disk, any pod on it may be evicted.
    (
        Reason.POD_LOST,
        ("The node was low on resource", "pod deleted", "evicted", "Evicted", "preempt", "Preempt", "node shutdown"),
    ),
    (Reason.DISK_FULL, ("ephemeral local storage", "local ephemeral storage", "Usage of EmptyDir volume")),
    (Reason.POD_REFUSED, ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "is forbidden")),
)
# What keeps a pod from starting although the kubelet goes on trying: reported at once, not only when the deadline has passed.
START_FAILURES = frozenset({Reason.IMAGE_UNAVAILABLE, Reason.POD_REFUSED})
PULL_ERROR = "ErrImagePull: "
# Exit codes that are 128 and the number of a signal, of steps that had no time to report.
TERMINATED = "143"
SIGNAL_REASONS = {
    "137": Reason.POD_LOST,
    TERMINATED: Reason.TERMINATED,
    # Libraries crash in these ways: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
    **dict.fromkeys(("132", "134", "135", "136", "139"), Reason.LOAD_FAILED),
}
# Where a reason's own hint is about a command on this machine, and a run in the cluster has another one.
HINTS = {Reason.TERMINATED: "`slipway retry NAME` continues the run where it stopped."}


def read_failure(attempt: Attempt) -> Failure:
    """Why this attempt failed: what the step itself reported, else what the message or the exit code means."""
    reported = _reported_failure(attempt.message)
    if reported is not None:
        return reported
    reason = reason_of_message(attempt.message)
    if reason is None:
        reason = SIGNAL_REASONS.get(attempt.exit_code, Reason.INTERNAL_ERROR)
    return make_failure(reason, attempt.message or "The pod failed, and neither Kubernetes nor Argo reports why.")


def start_failure(attempt: Attempt) -> Failure | None:
    """Why a pod cannot start; None where it is only slow, or has started."""
    reason = reason_of_message(attempt.message) if attempt.phase == "Pending" else None
    if reason not in START_FAILURES:
        return None
    # The kubelet alternates between the error and the pause before the next try; the error is in both.
    message = PULL_ERROR + attempt.message.rpartition(PULL_ERROR)[2] if PULL_ERROR in attempt.message else attempt.message
    return make_failure(reason, message, retryable=True)


def workflow_failure(run: WorkflowRun) -> Failure:
    """The failure of a Workflow that ended and has no step that failed: it had no pod yet, or its steps cannot be read."""
    if run.unreadable:
        ended = f"The Workflow has ended as {run.phase}"
        return make_failure(Reason.WORKFLOW_UNREADABLE, f"{ended}, and what its steps made is not known. {run.unreadable}")
    message = run.message
    reason = reason_of_message(message) or Reason.WORKFLOW_REFUSED
    return make_failure(reason, message or "The Workflow ended before its first step, and Argo does not report why.")


def reason_of_message(message: str) -> Reason | None:
    """The reason that a message of Argo or of the kubelet stands for; None for a message that is not known here."""
    return next((reason for reason, texts in MESSAGE_REASONS if any(text in message for text in texts)), None)


def make_failure(reason: Reason, message: str, *, hint: str = "", retryable: bool | None = None) -> Failure:
    """A failure that no step has reported. Hint and ``retryable`` are those of the reason where they are not given."""
    return Failure(
        reason=reason,
        message=message,
        hint=hint or HINTS.get(reason, reason.hint),
        retryable=reason.retryable if retryable is None else retryable,
    )


def _reported_failure(message: str) -> Failure | None:
    """The failure that a step reported, None where the message has none."""
    try:
        value, _ = json.JSONDecoder().raw_decode(message[message.index("{") :])
        return Failure.model_validate(value)
    except (ValueError, RecursionError):  # not JSON, cut off, or JSON of something else
        return None
