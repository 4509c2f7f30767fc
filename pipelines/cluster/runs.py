"""A run in the cluster: a Model and its Workflow seen as one thing, or a Workflow that somebody started by hand.

The Workflow shows what happens, step by step; the Model's status, which the operator writes, shows the result. Either may be
deleted or behind the other, so whether a run has ended is decided here, once, for all commands.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from crd import pod_failures as failures
from crd.kubernetes_client import STATUS_HINT, KubernetesClient
from crd.kubernetes_objects import ConditionObject, ModelObject, ModelStatusObject, WorkflowObject
from crd.observe import MANIFEST, model_failure
from crd.resource_kinds import MODEL, WORKFLOW
from crd.status import ConditionType
from crd.workflow import requested_services, workflow_name
from crd.workflow_nodes import read_run
from pipelines.cluster.steps import StepState, safe, steps_of
from steps.command.flags import split_list
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import Failure
from steps.tasks.table import AUTO


class Phase(StrEnum):
    """The state of a run as a whole."""

    WAITING = "Waiting"  # no Workflow yet
    RUNNING = "Running"
    SETTLING = "Settling"  # the Workflow has ended, and the Model's status does not say so yet
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True)
class ModelRun:
    """One run: a Model with the Workflow of its newest generation, or a Workflow alone.

    ``model`` is None for a Workflow without a Model; ``workflow`` is None before it is created and after it is deleted.
    """

    name: str
    workflow_name: str
    model: ModelObject | None
    workflow: WorkflowObject | None

    @property
    def status(self) -> ModelStatusObject:
        """The Model's status; empty without one."""
        return (self.model.get("status") if self.model else None) or {}

    @property
    def services(self) -> tuple[str, ...]:
        """The tasks, as far as they are known: those that ``auto`` stands for are known when fetch has ended."""
        found = read_run(self.workflow).services if self.workflow else ()
        return found or tuple(each for each in self._requested() if each != AUTO)

    def _requested(self) -> tuple[str, ...]:
        if self.model:
            return requested_services(self.model["spec"])
        spec = (self.workflow.get("spec") if self.workflow else None) or {}
        for parameter in (spec.get("arguments") or {}).get("parameters") or ():
            if parameter["name"] == "services":
                return split_list(parameter.get("value", ""))
        return ()

    @property
    def unreadable(self) -> str:
        """Why the Workflow's steps cannot be read, as a sentence; empty where they can."""
        return read_run(self.workflow).unreadable if self.workflow else ""

    @property
    def steps(self) -> tuple[StepState, ...]:
        """All steps of the run, in order, each with its state."""
        return steps_of(self.workflow, self.services)

    @property
    def phase(self) -> Phase:
        """The state of the run, from the Workflow and the status together."""
        in_status = self._phase_in_status()
        if self.workflow is None:
            return in_status
        run = read_run(self.workflow)
        if not run.ended:
            return Phase.RUNNING
        done = Phase.SUCCEEDED if run.succeeded else Phase.FAILED
        # Where both are there, they must agree: after a retry the status is one run behind.
        return done if self.model is None or done is in_status else Phase.SETTLING

    def _phase_in_status(self) -> Phase:
        """What the Model's status says about its newest generation."""
        if is_true(self.model, ConditionType.READY):
            return Phase.SUCCEEDED
        return Phase.FAILED if is_true(self.model, ConditionType.STALLED) or self._refused else Phase.WAITING

    @property
    def _refused(self) -> Failure | None:
        """Why the Model is not accepted, where that is not in its status: the API server may take none for such a Model."""
        return model_failure(self.model) if self.model and not condition(self.model, ConditionType.READY) else None

    @property
    def failure(self) -> tuple[str, Failure] | None:
        """The step that failed and why, once the run has failed: as in the status, else as in the Workflow."""
        if self.phase is not Phase.FAILED:
            return None
        if last := self.status.get("lastFailure"):
            return last["step"], _failure_in_status(last["reason"], last.get("message", ""), last.get("hint", ""))
        if refused := self._refused:
            return MANIFEST, safe(refused)
        run = read_run(self.workflow or {"metadata": {"name": self.workflow_name}})
        for step in run.failed_steps:
            if step.last_failed_attempt:
                return step.name, safe(failures.read_failure(step.last_failed_attempt))
        return "", safe(failures.workflow_failure(run))


def find_run(cluster: KubernetesClient, name: str) -> ModelRun:
    """Return the run of the Model or of the Workflow of this name. Raises ``InvalidInput`` where there is neither."""
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


def run_of(cluster: KubernetesClient, model: ModelObject) -> ModelRun:
    """Return the run of a stored Model's newest generation."""
    metadata = model["metadata"]
    name = workflow_name(metadata["uid"], int(metadata["generation"]))
    return ModelRun(metadata["name"], name, model, cluster.find(WORKFLOW, name))


def condition(model: ModelObject | None, kind: ConditionType) -> ConditionObject | None:
    """Return the condition of this type, if there is one and it is about the newest generation."""
    if model is None:
        return None
    for found in (model.get("status") or {}).get("conditions") or ():
        if found["type"] == kind and found.get("observedGeneration", 0) == model["metadata"]["generation"]:
            return found
    return None


def is_true(model: ModelObject | None, kind: ConditionType) -> bool:
    """Whether the condition of this type is true for the newest generation."""
    found = condition(model, kind)
    return found is not None and found["status"] == "True"


def age(created: str, now: datetime) -> float:
    """Return the seconds since an object was created; ``created`` is its ``creationTimestamp``."""
    return (now - datetime.fromisoformat(created)).total_seconds()


def _failure_in_status(reason: str, message: str, hint: str) -> Failure:
    """Return a failure that the operator wrote, perhaps one of a newer version with a reason that is not known here."""
    known = Reason(reason) if reason in tuple(Reason) else Reason.INTERNAL_ERROR
    text = message if known == reason else f"{reason}: {message}"
    return safe(Failure(reason=known, message=text, hint=hint or known.hint, retryable=known.retryable))
