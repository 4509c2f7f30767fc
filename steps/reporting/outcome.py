"""The outcome of a run: which services work, what failed and why, and what is not done yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steps.core.receipts import Failure, Receipt
from steps.core.text import display_text, join_words
from steps.reporting.service_records import MODEL_STEPS, Records, is_stopped, missing_steps, service_state


@dataclass(frozen=True)
class StepFailure:
    """One step's failure, as the page shows it.

    Attributes:
        node: The step, and of which service.
        reason: The name of the ``Reason``.
        message: What happened.
        hint: What to do; may be empty.
        retryable: Whether the same step may succeed later.
    """

    node: str
    reason: str
    message: str
    hint: str
    retryable: bool


@dataclass(frozen=True)
class Outcome:
    """How a run has ended, or how far it is.

    Attributes:
        tone: How it is drawn: ``good``, ``bad``, or ``open`` for what can go on.
        title: The outcome in a few words.
        detail: One or two sentences more.
        failures: Of the steps, in the order in which they began.
    """

    tone: str
    title: str
    detail: str
    failures: list[StepFailure]


def outcome(status: str, receipts: Sequence[Receipt], services: Mapping[str, Records]) -> Outcome:
    """Return the outcome of a run.

    Args:
        status: What the workflow engine says of the run, or empty.
        receipts: Its records, without outdated ones.
        services: The same by service.
    """
    working = [display_text(name, 80) for name, records in services.items() if service_state(records)[0] == "good"]
    missing = _missing_steps(receipts, services)
    failures = [(_node_text(receipt), receipt.failure) for receipt in receipts if receipt.failure]
    works = f"{join_words(working)} {'works' if len(working) == 1 else 'work'}. " if working else ""
    engine = f" The workflow ended as “{display_text(status, 60)}”." if status else ""
    if failures:
        nodes = join_words([node for node, _ in failures])
        stopped = all(is_stopped(failure) for _, failure in failures)
        tone, title = ("open", f"Stopped in {nodes}") if stopped else ("bad", f"Failed at {nodes}")
        detail = works
    elif missing and status not in ("", "Succeeded"):
        tone, title = "bad", "Ended before it was complete"
        detail = f"{works}Not done: {'; '.join(missing)}."
        engine += " No step recorded a failure: one was killed from outside (memory, time limit) or could not start."
    elif missing:
        tone, title = "open", "Not finished"
        detail = f"{works}Not done: {'; '.join(missing)}."
    elif working:
        tone, title = "good", f"Serves {join_words(working)}"
        detail = "Every byte was checked against the lock, and each package was started and gave the model's own answer."
    else:
        tone, title, detail = "good", "Fetched and loaded", "No service was requested."
    return Outcome(tone, title, (detail + engine).strip(), [_step_failure(node, failure) for node, failure in failures])


def _missing_steps(receipts: Sequence[Receipt], services: Mapping[str, Records]) -> list[str]:
    """The steps without a record, as phrases."""
    done = {receipt.step for receipt in receipts if not receipt.service}
    missing = [step for step in MODEL_STEPS if step not in done]
    for name, records in services.items():
        if steps := missing_steps(records):
            missing.append(f"{join_words(steps)} of {display_text(name, 80)}")
    return missing


def _step_failure(node: str, failure: Failure) -> StepFailure:
    message, hint = display_text(failure.message, 4000), display_text(failure.hint, 1000)
    return StepFailure(node, failure.reason, message, hint, failure.retryable)


def _node_text(receipt: Receipt) -> str:
    return f"{receipt.step} of {display_text(receipt.service, 80)}" if receipt.service else receipt.step
