"""The records of a run, ordered by service, and how far each service has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from steps.core.errors import ExitCode
from steps.core.graph import MODEL_NODES, SERVICE_NODES
from steps.core.receipts import Failure, Receipt
from steps.tasks.table import ALIASES, AUTO

MODEL_STEPS = tuple(node.name for node in MODEL_NODES)  # the steps that a run has once
SERVICE_STEPS = tuple(node.name for node in SERVICE_NODES if not node.builder)  # the steps of each service, in their order
LATER_STEPS = tuple(node.name for node in SERVICE_NODES if node.builder)  # those that wait for what ``build`` has begun
STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)

Records = Mapping[str, Receipt]
"""The records of one service, by step."""


def without_outdated(receipts: Sequence[Receipt]) -> list[Receipt]:
    """Return the records without those of steps that come after a failed one: an earlier attempt wrote them."""
    failed = {receipt.node for receipt in receipts if receipt.failure}

    def is_outdated(receipt: Receipt) -> bool:
        steps: tuple[str, ...] = SERVICE_STEPS
        if receipt.step in LATER_STEPS:
            steps = (*SERVICE_STEPS[: SERVICE_STEPS.index("build") + 1], receipt.step)
        nodes = [*MODEL_STEPS, *(f"{receipt.service}/{step}" for step in steps)]
        return receipt.node in nodes and not failed.isdisjoint(nodes[: nodes.index(receipt.node)])

    return [receipt for receipt in receipts if not is_outdated(receipt)]


def records_by_service(receipts: Sequence[Receipt]) -> dict[str, dict[str, Receipt]]:
    """Return the records of each service by step, under the task's own name; the requested services come first."""
    services: dict[str, dict[str, Receipt]] = {}
    for receipt in receipts:
        requested = receipt.outputs.get("services") or receipt.inputs.get("services")
        for name in requested if isinstance(requested, list) else []:
            if name != AUTO:
                services.setdefault(ALIASES.get(str(name), str(name)), {})
    for receipt in receipts:
        if receipt.service:
            services.setdefault(ALIASES.get(receipt.service, receipt.service), {})[receipt.step] = receipt
    return services


def service_state(records: Records) -> tuple[str, str]:
    """Return a tone (see ``outcome.Outcome``) and a phrase for how far the service has come."""
    failures = [(step, receipt.failure) for step, receipt in records.items() if receipt.failure]
    if failures:
        step, failure = failures[0]
        return ("open", f"{step} stopped") if is_stopped(failure) else ("bad", f"{step} failed")
    missing = missing_steps(records)
    return ("open", f"{missing[0]} not done") if missing else ("good", "works")


def missing_steps(records: Records) -> list[str]:
    """Return the steps of a service that are not done yet, in their order."""
    later = str(records["build"].outputs.get("awaits", "")) if "build" in records else ""
    return [step for step in (*SERVICE_STEPS, later) if step and step not in records]


def is_stopped(failure: Failure) -> bool:
    """Whether the step was stopped by a signal rather than failed."""
    return failure.reason.exit_code in STOPPED
