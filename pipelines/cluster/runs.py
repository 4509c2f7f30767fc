"""A run in the cluster: a Model and its Workflow seen as one thing, or a Workflow that somebody started by hand.

The Workflow tells what happens, step by step; the Model's status, which the operator writes, tells what came of it. Either may
be gone or behind the other, so whether a run has ended is decided here, once, for all commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from crd import pod_failures as failures
from crd.kubernetes_client import STATUS_HINT, KubernetesClient
from crd.kubernetes_objects import WorkflowObject
from crd.resource_kinds import MODEL, WORKFLOW
from crd.status import ConditionType
from crd.workflow import workflow_name
from crd.workflow_nodes import read_run
from pipelines.cluster.steps import StepState, safe, steps_of
from steps.command.flags import split_list
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import Failure
from steps.tasks.table import AUTO


class Phase(StrEnum):
    """What a run is at."""

    WAITING = "Waiting"  # no Workflow yet
    RUNNING = "Running"
    SETTLING = "Settling"  # the Workflow has ended, and the Model's status does not say so yet
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class ModelRun:
    """One run. ``model`` is None for a Workflow without one; ``workflow`` is None before it begins and once it is collected."""

    name: str
    workflow_name: str
    model: Mapping[str, Any] | None
    workflow: Mapping[str, Any] | None

    @property
    def status(self) -> Mapping[str, Any]:
        """The Model's status; empty without one."""
        return (self.model or {}).get("status") or {}

    @property
    def services(self) -> tuple[str, ...]:
        """The tasks, as far as they are known: what `auto` means shows when fetch has ended."""
        found = read_run(cast(WorkflowObject, self.workflow)).services if self.workflow else ()
        return found or tuple(each for each in self._asked() if each != AUTO)

    def _asked(self) -> tuple[str, ...]:
        if self.model:
            return tuple(self.model["spec"]["services"])
        for parameter in ((self.workflow or {}).get("spec", {}).get("arguments") or {}).get("parameters") or ():
            if parameter["name"] == "services":
                return split_list(parameter["value"])
        return ()

    @property
    def steps(self) -> tuple[StepState, ...]:
        return steps_of(self.workflow, self.services)

    @property
    def phase(self) -> Phase:
        said = self._said()
        if self.workflow is None:
            return said
        run = read_run(cast(WorkflowObject, self.workflow))
        if not run.ended:
            return Phase.RUNNING
        done = Phase.SUCCEEDED if run.succeeded else Phase.FAILED
        # Where both are there, they must agree: after a retry the status is one run behind.
        return done if self.model is None or done is said else Phase.SETTLING

    def _said(self) -> Phase:
        """What the Model's status says of its newest generation."""
        if is_true(self.model, ConditionType.READY):
            return Phase.SUCCEEDED
        return Phase.FAILED if is_true(self.model, ConditionType.STALLED) else Phase.WAITING

    @property
    def failure(self) -> tuple[str, Failure] | None:
        """Where and why it failed, once it has: what the operator wrote, else what the Workflow shows."""
        if self.phase is not Phase.FAILED:
            return None
        if last := self.status.get("lastFailure"):
            return last["step"], _failure(last["reason"], last.get("message", ""), last.get("hint", ""))
        run = read_run(cast(WorkflowObject, self.workflow) or {"metadata": {"name": self.workflow_name}})
        for step in run.failed_steps:
            if step.last_failed_attempt:
                return step.name, safe(failures.read_failure(step.last_failed_attempt))
        return "", safe(failures.workflow_failure(run.message))


def find_run(cluster: KubernetesClient, name: str) -> ModelRun:
    """The run of the Model of this name, or the Workflow of this name. Raises ``InvalidInput`` where there is neither."""
    model = cluster.find(MODEL, name) if cluster.serves(MODEL) else None
    if model:
        return run_of(cluster, model)
    workflow = cluster.find(WORKFLOW, name)
    if workflow is None:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"There is no Model and no Workflow {name} in the namespace {cluster.namespace}.",
            hint=STATUS_HINT,
        )
    return ModelRun(name, name, None, workflow)


def run_of(cluster: KubernetesClient, model: Mapping[str, Any]) -> ModelRun:
    """The run of a stored Model's newest generation."""
    metadata = model["metadata"]
    name = workflow_name(metadata["uid"], int(metadata["generation"]))
    return ModelRun(metadata["name"], name, model, cluster.find(WORKFLOW, name))


def condition(model: Mapping[str, Any] | None, kind: ConditionType) -> Mapping[str, Any] | None:
    """The condition, if there is one and it speaks of the newest generation."""
    if model is None:
        return None
    for found in (model.get("status") or {}).get("conditions") or ():
        if found["type"] == kind and found.get("observedGeneration", 0) == model["metadata"]["generation"]:
            result: Mapping[str, Any] = found
            return result
    return None


def is_true(model: Mapping[str, Any] | None, kind: ConditionType) -> bool:
    found = condition(model, kind)
    return found is not None and found["status"] == "True"


def age(created: str, now: datetime) -> float:
    """Seconds since an object was created."""
    return (now - datetime.fromisoformat(created)).total_seconds()


def _failure(reason: str, message: str, hint: str) -> Failure:
    """A failure from the status, whose reason may be one that a newer version wrote."""
    known = Reason(reason) if reason in tuple(Reason) else Reason.INTERNAL_ERROR
    said = message if known == reason else f"{reason}: {message}"
    return safe(Failure(reason=known, message=said, hint=hint or known.hint, retryable=known.retryable))
