"""The status of a Model, worked out from the Model, its Workflow and the time.

Nothing is kept between two calls but what the stored status holds: the times of earlier transitions, and the generation that is
finished. So it does not matter who calls, how often, or what was killed in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import TypeAdapter, ValidationError

from crd.conditions import DECIDED_BY, Verdict, Verdicts, read_number, run_verdicts, to_conditions
from crd.kubernetes_objects import ModelObject, WorkflowObject
from crd.pod_failures import (
    START_FAILURES,
    TERMINATED,
    make_failure,
    read_failure,
    reason_of_message,
    start_failure,
    workflow_failure,
)
from crd.status import (
    MAX_DIGEST,
    MAX_KEY,
    MAX_MESSAGE,
    MAX_REVISION,
    ConditionType,
    LastFailure,
    ModelStatus,
    ProgressReason,
    ServiceStatus,
)
from crd.types import ModelSpec
from crd.workflow import requested_services, workflow_name
from crd.workflow_nodes import REPORT, Attempt, WorkflowRun, read_run
from steps.core.errors import Reason
from steps.core.names import NAME_RULE, ModelName
from steps.core.receipts import Failure
from steps.core.text import display_text
from steps.images.builders.supported import IN_CLUSTER, BuilderKind
from steps.tasks.table import AUTO, MAX_SERVICES

_C, _P = ConditionType, ProgressReason
STOPPED = "Stopped with strategy"  # Argo's message for a Workflow that somebody stopped or terminated
NO_WORKFLOW = "The Workflow has not been created yet. The sensor creates it, or else the operator."
RENAME_HINT = "Create the Model again under another name, and delete this one."
MANIFEST, WORKFLOW = "manifest", "workflow"  # take the place of the step in a failure before the first step


def status_of(model: ModelObject, workflow: WorkflowObject | None, now: str) -> ModelStatus:
    """The status that a stored Model should have.

    Args:
        model: The Model as it is stored.
        workflow: The Workflow of its uid and generation, None where there is none. A finished generation whose Workflow is gone
            keeps its status.
        now: The time of conditions that change now, RFC 3339 in UTC.
    """
    before, generation = stored_status(model), int(model["metadata"]["generation"])
    if workflow is not None:
        return _running(model, _with_known_causes(read_run(workflow), before), before, now)
    if before.finished_generation >= generation:
        return before
    problem = model_failure(model)
    return _not_accepted(problem, before, generation, now) if problem else _starting(model, before, now)


def stored_status(model: ModelObject) -> ModelStatus:
    """The status as it is stored; of one that cannot be read, such as another version's, only the finished generation."""
    stored = model.get("status") or {}
    try:
        return ModelStatus.model_validate(stored)
    except ValidationError:
        finished = stored.get("finishedGeneration")
        return ModelStatus(finished_generation=finished if isinstance(finished, int) and finished > 0 else 0)


def is_waiting(model: ModelObject) -> bool:
    """Whether the newest generation of a Model is still to be run to its end: neither finished nor one that is not accepted."""
    finished = stored_status(model).finished_generation >= int(model["metadata"]["generation"])
    return not finished and model_failure(model) is None


def model_failure(model: ModelObject) -> Failure | None:
    """Why a stored Model is not accepted; None where it is. It may be older than the API server's copy of the CRD."""
    try:
        TypeAdapter(ModelName).validate_python(model["metadata"]["name"])
    except ValidationError:
        return make_failure(Reason.INVALID_MANIFEST, f"metadata.name: {NAME_RULE}", hint=RENAME_HINT)
    return spec_failure(model["spec"])


def spec_failure(spec: Mapping[str, object]) -> Failure | None:
    """Why a stored spec is not accepted; None where it is. The API server's copy of the CRD may be older than these rules."""
    try:
        builder = ModelSpec.model_validate(spec).builder
    except ValidationError as error:
        problems = (
            f"{'.'.join(['spec', *map(str, problem['loc'])])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False)
        )
        return make_failure(Reason.INVALID_MANIFEST, "\n".join(problems).replace("valid tuple", "list"))
    if builder and builder not in IN_CLUSTER:
        return make_failure(
            Reason.BUILDER_MISSING,
            f"The builder {builder} needs a program that images of steps do not have. "
            f"Builders that work in a cluster: {', '.join(IN_CLUSTER)}.",
            hint=f"Set `builder: {BuilderKind.PLAN}`, which describes how to make the image from the archive, "
            "or use `slipway run` on a machine with buildah, podman or docker.",
        )
    return None


def unfinished(workflow: WorkflowObject) -> bool:
    """Whether a Workflow has not ended yet."""
    return not read_run(workflow).ended


def _not_accepted(failure: Failure, before: ModelStatus, generation: int, now: str) -> ModelStatus:
    verdicts: Verdicts = dict.fromkeys(DECIDED_BY, Verdict("False", _P.NOT_REACHED, "The spec is not accepted."))
    verdicts |= dict.fromkeys((_C.ACCEPTED, _C.READY), Verdict("False", failure.reason, failure.message))
    verdicts[_C.STALLED] = Verdict("True", failure.reason, failure.message)
    return ModelStatus(
        observed_generation=generation,
        finished_generation=generation,
        conditions=to_conditions(verdicts, before, generation, now),
        last_failure=_last_failure(MANIFEST, failure, now),
    )


def _starting(model: ModelObject, before: ModelStatus, now: str) -> ModelStatus:
    generation = int(model["metadata"]["generation"])
    name = workflow_name(model["metadata"]["uid"], generation)
    return ModelStatus(
        observed_generation=generation,
        finished_generation=min(before.finished_generation, generation - 1),
        workflow=name,
        conditions=to_conditions(
            run_verdicts((), 0, NO_WORKFLOW),
            before,
            generation,
            now,
        ),
    )


def _running(model: ModelObject, run: WorkflowRun, before: ModelStatus, now: str) -> ModelStatus:
    generation = int(model["metadata"]["generation"])
    services = run.services or [each for each in requested_services(model["spec"])[:MAX_SERVICES] if each != AUTO]
    failed = _failure_of(run)
    verdicts = run_verdicts(run.steps, len(services), _current_work(run), ended=run.ended)
    if run.unreadable:
        verdicts |= dict.fromkeys(DECIDED_BY, Verdict("Unknown", _P.NOT_REACHED, run.unreadable))
    if run.ended:
        del verdicts[_C.RECONCILING]
    if run.succeeded:
        verdicts[_C.READY] = Verdict("True", _P.SUCCEEDED, "Every service gives the same answers as the model itself.")
    elif failed:
        step, failure, _ = failed
        verdicts[_C.READY] = Verdict("False", failure.reason, f"{step}: {failure.message}")
        verdicts[_C.STALLED if run.ended else _C.RECONCILING] = verdicts[_C.READY]._replace(status="True")
    outputs = {step.name: step.outputs for step in run.steps if step.succeeded}
    fetched = outputs.get("fetch", {})
    return ModelStatus(
        observed_generation=generation,
        # `argo retry` sets a run going again that was finished.
        finished_generation=generation if run.ended else min(before.finished_generation, generation - 1),
        workflow=run.name,
        revision=fetched.get("revision", "")[:MAX_REVISION],
        set_digest=_digest(fetched.get("set_digest", "")),
        report=outputs.get(REPORT, {}).get("report", "")[:MAX_KEY],
        services=tuple(_service(task, outputs) for task in services),
        conditions=to_conditions(verdicts, before, generation, now),
        last_failure=_last_failure(*failed) if failed else None,
    )


def _with_known_causes(run: WorkflowRun, before: ModelStatus) -> WorkflowRun:
    """The run, with the reason why a pod did not start in place of the deadline that ended it.

    Argo keeps a node's last message only. Why the pod had not started until then is in the stored status. A step that did start
    in the end is stopped by SIGTERM, and has taken too long.
    """
    known = before.last_failure
    if known is None or known.reason not in START_FAILURES or before.workflow != run.name:
        return run
    cause = known.message

    def with_cause(attempt: Attempt) -> Attempt:
        waited = reason_of_message(attempt.message) is Reason.DEADLINE_EXCEEDED and attempt.exit_code != TERMINATED
        return replace(attempt, message=cause) if waited else attempt

    steps = (
        replace(step, attempts=tuple(map(with_cause, step.attempts))) if step.name == known.step else step for step in run.steps
    )
    return replace(run, steps=tuple(steps))


def _failure_of(run: WorkflowRun) -> tuple[str, Failure, str] | None:
    """Step, failure and time of what went wrong: first what is final, else what is being tried again or cannot start."""
    for step in run.failed_steps:
        assert step.last_failed_attempt, "it has failed"
        failure = read_failure(step.last_failed_attempt)
        if run.message.startswith(STOPPED) and failure.reason is Reason.POD_LOST:
            failure = make_failure(Reason.TERMINATED, run.message)
        return step.name, failure, step.last_failed_attempt.finished
    if run.ended and not run.succeeded:
        return WORKFLOW, workflow_failure(run), run.finished
    again = [(attempt.finished, step.name, attempt) for step in run.steps if (attempt := step.last_failed_attempt)]
    if again:
        time, name, attempt = max(again, key=lambda each: each[:2])
        return name, read_failure(attempt), time
    for step in run.steps:
        for attempt in step.attempts:
            if waiting := start_failure(attempt):
                return step.name, waiting, attempt.started
    return None


def _current_work(run: WorkflowRun) -> str:
    """What a run is doing, in a sentence that stays the same until another step starts."""
    names = [step.name for step in run.steps if step.phase in ("Running", "Pending")]
    if names:
        return f"Steps that are running: {', '.join(names)}."
    return run.message or ("The next step is starting." if run.steps else "The Workflow is waiting to start.")


def _service(task: str, outputs: Mapping[str, Mapping[str, str]]) -> ServiceStatus:
    archive, build, smoke, cloudbuild = (
        outputs.get(f"{task}/{step}", {}) for step in ("archive", "build", "smoke", "cloudbuild")
    )
    return ServiceStatus(
        task=task,
        archive=archive.get("archive", "")[:MAX_KEY],
        archive_digest=_digest(archive.get("archive_digest", "")),
        image=build.get("image", "")[:MAX_KEY],
        image_digest=_digest((cloudbuild or build).get("image_digest", "")),
        latency_ms=read_number(smoke.get("latency_ms", "")),
    )


def _digest(value: str) -> str:
    """The SHA-256 in the form ``sha256:<hex digits>``; empty stays empty."""
    return (f"sha256:{value}" if value and not value.startswith("sha256:") else value)[:MAX_DIGEST]


def _last_failure(step: str, failure: Failure, time: str) -> LastFailure:
    return LastFailure(
        step=step,
        reason=failure.reason,
        message=display_text(failure.message.strip(), MAX_MESSAGE),
        hint=display_text(failure.hint.strip(), MAX_MESSAGE),
        retryable=failure.retryable,
        time=time,
    )
