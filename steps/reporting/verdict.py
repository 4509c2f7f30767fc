"""How a run stands: which services work, what failed and why, and what nobody has done yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from steps.core.errors import ExitCode
from steps.core.receipts import Failure, Receipt
from steps.core.text import display_text, join_words
from steps.tasks.table import ALIASES, AUTO

TRUNK = ("fetch", "load")  # the steps that a run has once
BRANCH = ("render", "archive", "build", "smoke")  # the steps of one service, in their order
CLOUDBUILD = "cloudbuild"  # goes on beside smoke where build awaits it
STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)

Branches = Mapping[str, Mapping[str, Receipt]]


@dataclass(frozen=True)
class Trouble:
    """One step's failure."""

    node: str
    reason: str
    message: str
    hint: str
    retryable: bool


@dataclass(frozen=True)
class Verdict:
    """``tone`` is ``good``, ``bad``, or ``open`` for what can go on."""

    tone: str
    title: str
    detail: str
    troubles: list[Trouble]


def current(receipts: Sequence[Receipt]) -> list[Receipt]:
    """The records without those that stand behind a step that failed: an earlier attempt left them."""
    failed = {receipt.node for receipt in receipts if receipt.failure}

    def behind(receipt: Receipt) -> bool:
        steps = ("render", "archive", "build", CLOUDBUILD) if receipt.step == CLOUDBUILD else BRANCH
        chain = [*TRUNK, *(f"{receipt.service}/{step}" for step in steps)]
        return receipt.node in chain and not failed.isdisjoint(chain[: chain.index(receipt.node)])

    return [receipt for receipt in receipts if not behind(receipt)]


def branches_of(receipts: Sequence[Receipt]) -> dict[str, dict[str, Receipt]]:
    """The records of each service by step, under the task's own name: the services asked for first, then any other."""
    branches: dict[str, dict[str, Receipt]] = {}
    for receipt in receipts:
        asked = receipt.outputs.get("services") or receipt.inputs.get("services")
        for name in asked if isinstance(asked, list) else []:
            if name != AUTO:
                branches.setdefault(ALIASES.get(str(name), str(name)), {})
    for receipt in receipts:
        if receipt.service:
            branches.setdefault(ALIASES.get(receipt.service, receipt.service), {})[receipt.step] = receipt
    return branches


def branch_state(branch: Mapping[str, Receipt]) -> tuple[str, str]:
    """A tone, and words for how far the service has come."""
    failures = [(step, receipt.failure) for step, receipt in branch.items() if receipt.failure]
    if failures:
        step, failure = failures[0]
        return ("open", f"{step} stopped") if _stopped(failure) else ("bad", f"{step} failed")
    missing = missing_steps(branch)
    return ("open", f"{missing[0]} not done") if missing else ("good", "works")


def missing_steps(branch: Mapping[str, Receipt]) -> list[str]:
    """The steps of a service that nobody has done yet, in their order."""
    awaited = str(branch["build"].outputs.get("awaits", "")) if "build" in branch else ""
    return [step for step in (*BRANCH, awaited) if step and step not in branch]


def verdict(status: str, receipts: Sequence[Receipt], branches: Branches) -> Verdict:
    """The verdict on a run; ``status`` is what a workflow engine says of it, or empty."""
    working = [display_text(name, 80) for name, branch in branches.items() if branch_state(branch)[0] == "good"]
    missing = _missing(receipts, branches)
    failures = [(_node(receipt), receipt.failure) for receipt in receipts if receipt.failure]
    works = f"{join_words(working)} {'works' if len(working) == 1 else 'work'}. " if working else ""
    said = f" The workflow ended as “{display_text(status, 60)}”." if status else ""
    if failures:
        where = join_words([node for node, _ in failures])
        stopped = all(_stopped(failure) for _, failure in failures)
        tone, title = ("open", f"Stopped in {where}") if stopped else ("bad", f"Failed at {where}")
        detail = works
    elif missing and status not in ("", "Succeeded"):
        tone, title = "bad", "Ended before it was done"
        detail = f"{works}Not done: {'; '.join(missing)}."
        said += " No step wrote down a failure, so one was killed from outside (memory, time) or could not begin."
    elif missing:
        tone, title = "open", "Not finished"
        detail = f"{works}Not done: {'; '.join(missing)}."
    elif working:
        tone, title = "good", f"Serves {join_words(working)}"
        detail = "Every byte was checked against the lock, and each package booted and gave the model's own answer."
    else:
        tone, title, detail = "good", "Fetched and loaded", "No service was asked for."
    return Verdict(tone, title, (detail + said).strip(), [_trouble(node, failure) for node, failure in failures])


def _missing(receipts: Sequence[Receipt], branches: Branches) -> list[str]:
    """What no step has a record of, in words."""
    done = {receipt.step for receipt in receipts if not receipt.service}
    missing = [step for step in TRUNK if step not in done]
    for name, branch in branches.items():
        steps = missing_steps(branch)
        if steps:
            missing.append(f"{join_words(steps)} of {display_text(name, 80)}")
    return missing


def _trouble(node: str, failure: Failure) -> Trouble:
    return Trouble(
        node, failure.reason, display_text(failure.message, 4000), display_text(failure.hint, 1000), failure.retryable
    )


def _stopped(failure: Failure) -> bool:
    return failure.reason.exit_code in STOPPED


def _node(receipt: Receipt) -> str:
    return f"{receipt.step} of {display_text(receipt.service, 80)}" if receipt.service else receipt.step
