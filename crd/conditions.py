"""The conditions of a Model: what each step of a run decides, and the sentence that a person reads.

To add a condition, add it to ``crd.status.ConditionType`` and its steps to ``DECIDED_BY``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from crd.pod_failures import read_failure
from crd.status import MAX_MESSAGE, Condition, ConditionType, ModelStatus, ProgressReason
from crd.workflow_nodes import FAILED, StepRun
from steps.core.text import display_text, format_bytes


class Verdict(NamedTuple):
    """What a condition says, without its times."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


MAX_DIGITS = 18  # of a number that a step puts out: it fits into 64 bits
Verdicts = dict[ConditionType, Verdict]
_C, _P = ConditionType, ProgressReason

# For each condition the steps that decide it; the last of them makes it true.
DECIDED_BY: Mapping[ConditionType, tuple[str, ...]] = {
    _C.FETCHED: ("fetch",),
    _C.VERIFIED: ("load",),
    _C.PACKAGED: ("render", "archive"),
    _C.BUILT: ("build", "cloudbuild"),  # the second one only where the first leaves the image to it
}


def run_verdicts(steps: Sequence[StepRun], services: int, work: str, *, ended: bool = False) -> Verdicts:
    """The conditions of a run that has not failed as a whole.

    Args:
        steps: The steps that have started.
        services: How many services there are, 0 while that is not known.
        work: What the run is doing, as a sentence.
        ended: Whether the run has ended.
    """
    reason = _P.RUNNING if steps else _P.STARTING
    verdicts: Verdicts = {_C.ACCEPTED: Verdict("True", _P.ACCEPTED, "The spec is valid.")}
    awaits = any(step.outputs.get("awaits") for step in steps)
    for condition, every in DECIDED_BY.items():
        names = every if awaits or condition is not _C.BUILT else every[:1]
        expected = max(services, 1) if condition in (_C.PACKAGED, _C.BUILT) else 1
        verdicts[condition] = _verdict(names, [step for step in steps if step.step in names], expected, ended)
    verdicts[_C.READY] = Verdict("False", reason, work)
    verdicts[_C.RECONCILING] = Verdict("True", reason, work)
    return verdicts


def _verdict(names: tuple[str, ...], steps: Sequence[StepRun], expected: int, ended: bool) -> Verdict:
    """The verdict of the steps with these names, of which ``expected`` must succeed."""
    for step in steps:
        if (attempt := step.last_failed_attempt) and (ended or step.phase in FAILED):
            failure = read_failure(attempt)
            return Verdict("False", failure.reason, f"{step.name}: {failure.message}")
    done = [step for step in steps if step.step == names[-1] and step.succeeded]
    if len(done) >= expected:
        return DONE_VERDICTS[names[-1]](done)
    if ended:
        return Verdict("False", _P.NOT_REACHED, f"The step {names[0]} was not reached.")
    if not steps:
        return Verdict("Unknown", _P.NOT_REACHED, f"The step {names[0]} has not started yet.")
    finished = f": {len(done)} of {expected} services are done" if expected > 1 else ""
    return Verdict("Unknown", _P.RUNNING, f"The step {names[-1]} has not finished yet{finished}.")


def read_number(text: str) -> int:
    """The number that a step put out; 0 where it is none, because what a Workflow holds anybody may have written."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0


def _fetched(steps: Sequence[StepRun]) -> Verdict:
    outputs = steps[0].outputs
    what = f"Fetched {outputs.get('files')} files, {format_bytes(read_number(outputs.get('bytes', '')))}"
    commit = f", at commit {outputs['revision']}" if outputs.get("revision") else ""
    return Verdict("True", _P.SUCCEEDED, f"{what}{commit}.")


def _verified(steps: Sequence[StepRun]) -> Verdict:
    outputs = steps[0].outputs
    return Verdict(
        "True",
        _P.SUCCEEDED,
        f"Every file is as it was fetched; {outputs.get('architecture')} was loaded and answered its test requests.",
    )


def _packaged(steps: Sequence[StepRun]) -> Verdict:
    return Verdict("True", _P.SUCCEEDED, f"The store has an archive for every service ({len(steps)}).")


def _built(steps: Sequence[StepRun]) -> Verdict:
    if all(step.outputs.get("image_digest") for step in steps):
        return Verdict("True", _P.SUCCEEDED, f"There is an image for every service ({len(steps)}).")
    return Verdict("False", _P.PLANNED, "This builder makes no image. Its plan in the store describes how to make one.")


DONE_VERDICTS: Mapping[str, Callable[[Sequence[StepRun]], Verdict]] = {
    "fetch": _fetched,
    "load": _verified,
    "archive": _packaged,
    "build": _built,
    "cloudbuild": _built,
}


def to_conditions(verdicts: Verdicts, before: ModelStatus, generation: int, now: str) -> tuple[Condition, ...]:
    """The verdicts as conditions of a generation, in order.

    A condition that had the same status ``before`` keeps the time of its last transition; the others get ``now`` (RFC 3339).
    """
    since = {(each.type, each.status): each.last_transition_time for each in before.conditions}
    return tuple(
        Condition(
            type=kind,
            status=verdicts[kind].status,
            reason=verdicts[kind].reason,
            message=display_text(verdicts[kind].message.strip(), MAX_MESSAGE),
            observed_generation=generation,
            last_transition_time=since.get((kind, verdicts[kind].status), now),
        )
        for kind in ConditionType
        if kind in verdicts
    )
