"""The steps of a run as a person follows them: each with its state and its time.

``crd.workflow_nodes`` reads the nodes of a Workflow and ``crd.pod_failures`` what went wrong, here as in the operator.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from crd.kubernetes_objects import WorkflowObject
from crd.pod_failures import read_failure, start_failure
from crd.workflow_nodes import FAILED, StepRun, read_run
from steps.core.graph import MODEL_NODES, REPORT, SERVICE_NODES
from steps.core.receipts import Failure
from steps.core.text import display_text

MAX_MESSAGE = 2000  # characters


class State(StrEnum):
    """The state of a step."""

    WAITING = "waiting"  # for earlier steps
    STARTING = "starting"  # its pod is being scheduled, or its image pulled
    RUNNING = "running"
    RETRYING = "retrying"  # an attempt failed, and the next one begins soon
    DONE = "done"
    FAILED = "failed"
    NOT_REACHED = "not reached"


@dataclass(frozen=True)
class StepState:
    """One step of a run.

    ``tries`` is the number of its attempts, each a pod. ``failure`` is why it failed, does not start, or is tried again.
    """

    name: str
    state: State
    tries: int = 0
    started: datetime | None = None
    finished: datetime | None = None
    failure: Failure | None = None

    def seconds(self, now: datetime) -> float | None:
        """Return the seconds that it took, or has taken so far; None where it has not begun."""
        return ((self.finished or now) - self.started).total_seconds() if self.started else None


def expected(services: Sequence[str], found: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names of all steps of a run, in order; steps of a single builder only where they are ``found``."""
    names = ((f"{service}/{node.name}", node.builder) for service in services for node in SERVICE_NODES)
    branches = (name for name, builder in names if not builder or name in found)
    return (*(node.name for node in MODEL_NODES), *branches, REPORT.name)


def steps_of(workflow: WorkflowObject | None, services: Sequence[str]) -> tuple[StepState, ...]:
    """Return all steps of a run, with what the Workflow shows of them; without a Workflow, all of them wait.

    There are none where the Workflow's steps cannot be read.
    """
    if workflow is None:
        return tuple(StepState(name, State.WAITING) for name in expected(services))
    run = read_run(workflow)
    if run.unreadable:
        return ()
    found = {step.name: read_step(step, ended=run.ended) for step in run.steps}
    absent = State.NOT_REACHED if run.ended else State.WAITING
    return tuple(found.get(name, StepState(name, absent)) for name in dict.fromkeys((*expected(services, found), *found)))


def read_step(step: StepRun, *, ended: bool) -> StepState:
    """Return the state of a step that has begun; where its Workflow has ``ended``, nothing runs, whatever the nodes say."""
    last = step.attempts[-1] if step.attempts else None
    phase = last.phase if last else ""
    failed = step.last_failed_attempt
    failure: Failure | None = None
    if step.succeeded:
        state = State.DONE
    elif failed and (step.phase in FAILED or ended):
        state, failure = State.FAILED, read_failure(failed)
    elif ended:
        state = State.NOT_REACHED
    elif last is None or phase == "Pending":
        state, failure = State.STARTING, start_failure(last) if last else None
    elif failed is last:
        state, failure = State.RETRYING, read_failure(last)
    else:
        state = State.RUNNING
    return StepState(
        name=step.name,
        state=state,
        tries=len(step.attempts),
        started=time_of(step.attempts[0].started) if step.attempts else None,
        # Argo ends a step when it next looks at it; the last attempt has the time when the work ended.
        finished=time_of(last.finished) if last and state in (State.DONE, State.FAILED) else None,
        failure=failure and safe(failure),
    )


def safe(failure: Failure) -> Failure:
    """Return the failure without control characters, which a message of a source may hold."""
    texts = {"message": display_text(failure.message, MAX_MESSAGE), "hint": display_text(failure.hint, MAX_MESSAGE)}
    return failure.model_copy(update=texts)


def time_of(text: str) -> datetime | None:
    """Return the time in UTC of an RFC 3339 text; None for another one."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
