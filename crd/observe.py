"""What became of a Model: the whole status as a function of the Model, its Workflow and the time.

Nothing is remembered between two looks but what the stored status holds: the times of earlier transitions, and the generation
that is finished. So it does not matter who looks, how often, or who was killed in between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import ValidationError

from crd.pod_failures import NOT_STARTING, TERMINATED, plain, read_failure, recognise, refused, why_it_waits
from crd.status import MAX_MESSAGE, Condition, ConditionType, LastFailure, ModelStatus, ProgressReason, ServiceStatus
from crd.types import ModelSpec
from crd.workflow import workflow_name
from crd.workflow_nodes import REPORT, Run, StepRun, Try, read_run
from steps.core.errors import Reason
from steps.core.receipts import Failure
from steps.core.text import display_text, format_bytes
from steps.images.builders.supported import IN_CLUSTER, BuilderKind
from steps.tasks.table import AUTO

Verdict = tuple[Literal["True", "False", "Unknown"], str, str]  # status, reason, message
Verdicts = dict[ConditionType, Verdict]
_C, _P = ConditionType, ProgressReason

# Condition: the steps that decide it, the last of which makes it true.
DECIDED_BY: Mapping[ConditionType, tuple[str, ...]] = {
    _C.FETCHED: ("fetch",),
    _C.VERIFIED: ("load",),
    _C.PACKAGED: ("render", "archive"),
    _C.BUILT: ("build", "cloudbuild"),  # the second one where the first awaits it
}
STOPPED = "Stopped with strategy"  # Argo's message for a Workflow that somebody stopped or terminated
MANIFEST, WORKFLOW = "manifest", "workflow"  # stand for the step where there was none yet


def status_of(model: Mapping[str, Any], workflow: Mapping[str, Any] | None, now: str) -> ModelStatus:
    """The status that a stored Model should have. ``workflow`` is the one of its uid and generation, ``now`` RFC 3339 in UTC.

    A finished generation whose Workflow is gone keeps its status.
    """
    before, generation = stored_status(model), int(model["metadata"]["generation"])
    if workflow is not None:
        return _running(model, _with_known_causes(read_run(workflow), before), before, now)
    if before.finished_generation >= generation:
        return before
    problem = problem_with(model["spec"])
    return _not_accepted(problem, before, generation, now) if problem else _starting(model, before, now)


def stored_status(model: Mapping[str, Any]) -> ModelStatus:
    """The status as it is stored. Of one that cannot be read, such as an older version's, the finished generation is kept."""
    stored = model.get("status") or {}
    try:
        return ModelStatus.model_validate(stored)
    except ValidationError:
        finished = stored.get("finishedGeneration")
        return ModelStatus(finished_generation=finished if isinstance(finished, int) else 0)


def problem_with(spec: Mapping[str, Any]) -> Failure | None:
    """Why nothing is made of a stored spec, if that is so. The API server's own rules may be older than ours."""
    try:
        builder = ModelSpec.model_validate(spec).builder
    except ValidationError as error:
        said = (
            f"{'.'.join(['spec', *map(str, problem['loc'])])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False)
        )
        return plain(Reason.INVALID_MANIFEST, "\n".join(said))
    if builder and builder not in IN_CLUSTER:
        return plain(
            Reason.BUILDER_MISSING,
            f"The builder {builder} needs a program of the machine it runs on. Possible in a cluster: {', '.join(IN_CLUSTER)}.",
            hint=f"Set `builder: {BuilderKind.PLAN}`, which says how to make the image of the archive, "
            "or use `slipway run` on a machine with buildah, podman or docker.",
        )
    return None


def unfinished(workflow: Mapping[str, Any]) -> bool:
    """Whether a Workflow still does something."""
    return not read_run(workflow).ended


def _not_accepted(failure: Failure, before: ModelStatus, generation: int, now: str) -> ModelStatus:
    verdicts: Verdicts = dict.fromkeys(DECIDED_BY, ("False", _P.NOT_REACHED, "The spec is not accepted."))
    verdicts |= dict.fromkeys((_C.ACCEPTED, _C.READY), ("False", failure.reason, failure.message))
    verdicts[_C.STALLED] = ("True", failure.reason, failure.message)
    return ModelStatus(
        observed_generation=generation,
        finished_generation=generation,
        conditions=_stamped(verdicts, before, generation, now),
        last_failure=_last_failure(MANIFEST, failure, now),
    )


def _starting(model: Mapping[str, Any], before: ModelStatus, now: str) -> ModelStatus:
    generation = int(model["metadata"]["generation"])
    name = workflow_name(model["metadata"]["uid"], generation)
    return ModelStatus(
        observed_generation=generation,
        finished_generation=min(before.finished_generation, generation - 1),
        workflow=name,
        conditions=_stamped(_progress((), 0, "The Workflow is not there yet."), before, generation, now),
    )


def _running(model: Mapping[str, Any], run: Run, before: ModelStatus, now: str) -> ModelStatus:
    generation = int(model["metadata"]["generation"])
    services = run.services or [each for each in model["spec"].get("services", []) if each != AUTO]
    failed = _failure_of(run)
    verdicts = _progress(run.steps, len(services), _doing(run), ended=run.ended)
    if run.ended:
        del verdicts[_C.RECONCILING]
    if run.succeeded:
        verdicts[_C.READY] = ("True", _P.SUCCEEDED, "Every service answers as the model itself does.")
    elif failed:
        step, failure, _ = failed
        verdicts[_C.READY] = ("False", failure.reason, f"{step}: {failure.message}")
        verdicts[_C.STALLED if run.ended else _C.RECONCILING] = ("True", *verdicts[_C.READY][1:])
    outputs = {step.name: step.outputs for step in run.steps if step.succeeded}
    fetched = outputs.get("fetch", {})
    return ModelStatus(
        observed_generation=generation,
        # `argo retry` sets a run going again that was finished.
        finished_generation=generation if run.ended else min(before.finished_generation, generation - 1),
        workflow=run.name,
        revision=fetched.get("revision", ""),
        set_digest=_digest(fetched.get("set_digest", "")),
        report=outputs.get(REPORT, {}).get("report", ""),
        services=tuple(_service(task, outputs) for task in services),
        conditions=_stamped(verdicts, before, generation, now),
        last_failure=_last_failure(*failed) if failed else None,
    )


def _with_known_causes(run: Run, before: ModelStatus) -> Run:
    """The run, with the reason why a pod did not start in place of the deadline that ended the wait.

    Argo keeps a node's last message only. What the pod waited for until then stands in the stored status; a step that had
    started after all ends on SIGTERM, and has taken too long.
    """
    known = before.last_failure
    if known is None or known.reason not in NOT_STARTING or before.workflow != run.name:
        return run
    cause = known.message

    def named(attempt: Try) -> Try:
        waited = recognise(attempt.message) is Reason.DEADLINE_EXCEEDED and attempt.exit_code != TERMINATED
        return replace(attempt, message=cause) if waited else attempt

    steps = (replace(step, tries=tuple(map(named, step.tries))) if step.name == known.step else step for step in run.steps)
    return replace(run, steps=tuple(steps))


def _progress(steps: Sequence[StepRun], services: int, doing: str, *, ended: bool = False) -> Verdicts:
    """All conditions of a run that has not failed as a whole."""
    reason = _P.RUNNING if steps else _P.STARTING
    verdicts: Verdicts = {_C.ACCEPTED: ("True", _P.ACCEPTED, "The spec is valid.")}
    awaits = any(step.outputs.get("awaits") for step in steps)
    for condition, every in DECIDED_BY.items():
        names = every if awaits or condition is not _C.BUILT else every[:1]
        expected = max(services, 1) if condition in (_C.PACKAGED, _C.BUILT) else 1
        verdicts[condition] = _verdict(names, [step for step in steps if step.step in names], expected, ended)
    verdicts[_C.READY] = ("False", reason, doing)
    verdicts[_C.RECONCILING] = ("True", reason, doing)
    return verdicts


def _verdict(names: tuple[str, ...], steps: Sequence[StepRun], expected: int, ended: bool) -> Verdict:
    for step in steps:
        if (attempt := step.last_failed_try) and (ended or step.phase in ("Failed", "Error")):
            failure = read_failure(attempt)
            return ("False", failure.reason, f"{step.name}: {failure.message}")
    done = [step for step in steps if step.step == names[-1] and step.succeeded]
    if len(done) >= expected:
        return WORDS[names[-1]](done)
    if ended or not steps:
        return ("False" if ended else "Unknown", _P.NOT_REACHED, f"{names[0]} has not begun.")
    of = f": {len(done)} of {expected} services are done" if expected > 1 else ""
    return ("Unknown", _P.RUNNING, f"{names[-1]} is not done yet{of}.")


def _fetched(steps: Sequence[StepRun]) -> Verdict:
    outputs = steps[0].outputs
    what = f"{outputs.get('files')} files, {format_bytes(int(outputs.get('bytes', 0)))}"
    commit = f", at commit {outputs['revision']}" if outputs.get("revision") else ""
    return ("True", _P.SUCCEEDED, f"{what}{commit}.")


def _verified(steps: Sequence[StepRun]) -> Verdict:
    outputs = steps[0].outputs
    return (
        "True",
        _P.SUCCEEDED,
        f"Every byte is the one that was fetched; {outputs.get('architecture')} was loaded and asked.",
    )


def _packaged(steps: Sequence[StepRun]) -> Verdict:
    return ("True", _P.SUCCEEDED, f"Archives in the store: {len(steps)}.")


def _built(steps: Sequence[StepRun]) -> Verdict:
    if all(step.outputs.get("image_digest") for step in steps):
        return ("True", _P.SUCCEEDED, f"Images: {len(steps)}.")
    return ("False", _P.PLANNED, "The builder plan makes no image; its plan says how to make one.")


WORDS: Mapping[str, Callable[[Sequence[StepRun]], Verdict]] = {
    "fetch": _fetched,
    "load": _verified,
    "archive": _packaged,
    "build": _built,
    "cloudbuild": _built,
}


def _failure_of(run: Run) -> tuple[str, Failure, str] | None:
    """Step, failure and time of what went wrong: first what will not be mended, else what is being tried again."""
    for step in run.failed_steps:
        assert step.last_failed_try, "it has failed"
        failure = read_failure(step.last_failed_try)
        if run.message.startswith(STOPPED) and failure.reason is Reason.POD_LOST:
            failure = plain(Reason.TERMINATED, run.message)
        return step.name, failure, step.last_failed_try.finished
    if run.ended and not run.succeeded:
        return WORKFLOW, refused(run.message), run.finished
    again = [(attempt.finished, step.name, attempt) for step in run.steps if (attempt := step.last_failed_try)]
    if again:
        time, name, attempt = max(again, key=lambda each: each[:2])
        return name, read_failure(attempt), time
    for step in run.steps:
        for attempt in step.tries:
            if waiting := why_it_waits(attempt):
                return step.name, waiting, attempt.started
    return None


def _doing(run: Run) -> str:
    """What a run is at, in a sentence that stays the same until another step begins."""
    names = [step.name for step in run.steps if step.phase in ("Running", "Pending")]
    if names:
        return f"Running: {', '.join(names)}."
    return run.message or ("The next step is about to start." if run.steps else "The Workflow waits for its turn.")


def _service(task: str, outputs: Mapping[str, Mapping[str, str]]) -> ServiceStatus:
    archive, build, smoke, cloudbuild = (
        outputs.get(f"{task}/{step}", {}) for step in ("archive", "build", "smoke", "cloudbuild")
    )
    return ServiceStatus(
        task=task,
        archive=archive.get("archive", ""),
        archive_digest=_digest(archive.get("archive_digest", "")),
        image=build.get("image", ""),
        image_digest=_digest((cloudbuild or build).get("image_digest", "")),
        latency_ms=int(smoke.get("latency_ms", 0)),
    )


def _digest(value: str) -> str:
    return f"sha256:{value}" if value and not value.startswith("sha256:") else value


def _last_failure(step: str, failure: Failure, time: str) -> LastFailure:
    return LastFailure(
        step=step,
        reason=failure.reason,
        message=display_text(failure.message.strip(), MAX_MESSAGE),
        hint=display_text(failure.hint.strip(), MAX_MESSAGE),
        retryable=failure.retryable,
        time=time,
    )


def _stamped(verdicts: Verdicts, before: ModelStatus, generation: int, now: str) -> tuple[Condition, ...]:
    """The verdicts as conditions; one that had the same status before keeps the time since when."""
    since = {(each.type, each.status): each.last_transition_time for each in before.conditions}
    return tuple(
        Condition(
            type=kind,
            status=verdicts[kind][0],
            reason=verdicts[kind][1],
            message=display_text(verdicts[kind][2].strip(), MAX_MESSAGE),
            observed_generation=generation,
            last_transition_time=since.get((kind, verdicts[kind][0]), now),
        )
        for kind in ConditionType
        if kind in verdicts
    )
