"""The steps of a run, as a Workflow object shows them.

Argo keeps one flat table of nodes: DAGs, groups, retries, and a pod for each try. Here it becomes what the graph has: one entry
for each step, ``fetch`` or ``image-classification/smoke``, with its tries and its outputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steps.command.main import split_list

REPORT = "report"  # the exit handler: it says what became of the run, and decides nothing
FINISHED = frozenset({"Succeeded", "Failed", "Error"})
FAILED = frozenset({"Failed", "Error"})
_TRY = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class Try:
    """One pod of a step. Times are RFC 3339; ``exit_code`` is empty where Argo knows none."""

    phase: str
    message: str
    exit_code: str
    started: str
    finished: str


@dataclass(frozen=True)
class StepRun:
    """One step of a run. ``service`` is empty outside of the branches; outputs are there once the step succeeded."""

    step: str
    service: str
    phase: str
    outputs: Mapping[str, str]
    tries: tuple[Try, ...]

    @property
    def name(self) -> str:
        """As the records of a run have it: ``fetch``, ``image-classification/smoke``."""
        return f"{self.service}/{self.step}" if self.service else self.step

    @property
    def succeeded(self) -> bool:
        return self.phase == "Succeeded"

    @property
    def last_failed_try(self) -> Try | None:
        """The newest try that failed, unless the step has succeeded since."""
        failed = [each for each in self.tries if each.phase in FAILED]
        return failed[-1] if failed and not self.succeeded else None


@dataclass(frozen=True)
class Run:
    """A Workflow, read. ``ended`` is true when nothing more happens, exit handler included."""

    name: str
    phase: str
    message: str
    steps: tuple[StepRun, ...]
    succeeded: bool
    finished: str

    @property
    def ended(self) -> bool:
        return self.phase in FINISHED

    @property
    def services(self) -> tuple[str, ...]:
        """The tasks that fetch named; empty while it has not."""
        [text] = [step.outputs.get("services", "") for step in self.steps if step.name == "fetch"] or [""]
        return split_list(text)

    @property
    def failed_steps(self) -> tuple[StepRun, ...]:
        """Steps that will not succeed any more, the one that failed first in front.

        In a Workflow that was stopped, Argo leaves a Retry node Running for ever: its last try tells.
        """
        failed = [step for step in self.steps if step.last_failed_try and (step.phase in FAILED or self.ended)]
        return tuple(sorted(failed, key=_when))


def read_run(workflow: Mapping[str, Any]) -> Run:
    """The run that a Workflow object, as the API server stores it, tells of."""
    name, status = workflow["metadata"]["name"], workflow.get("status", {})
    nodes: dict[str, dict[str, Any]] = status.get("nodes", {})
    retries = {node["name"] for node in nodes.values() if node["type"] == "Retry"}
    steps: dict[str, list[dict[str, Any]]] = {}
    for node in nodes.values():
        if node["type"] in ("Retry", "Pod"):
            without_number = _TRY.sub("", node["name"])
            steps.setdefault(without_number if without_number in retries else node["name"], []).append(node)
    phase = status.get("phase", "")
    return Run(
        name=name,
        phase=phase,
        message=status.get("message", "") or _message_of_another_node(nodes),
        steps=tuple(sorted((_step(group) for group in steps.values()), key=lambda step: step.name)),
        # A run whose report alone failed is a Failed Workflow with a DAG that succeeded.
        succeeded=phase == "Succeeded" or (phase in FAILED and nodes.get(name, {}).get("phase") == "Succeeded"),
        finished=status.get("finishedAt") or "",
    )


def _step(group: list[dict[str, Any]]) -> StepRun:
    """One step from its pods and, where the template repeats it, its Retry node, which speaks for it."""
    pods = sorted((node for node in group if node["type"] == "Pod"), key=lambda node: (node["startedAt"], node["name"]))
    head = next((node for node in group if node["type"] == "Retry"), pods[-1] if pods else group[0])
    outputs = head.get("outputs", {}).get("parameters", [])
    inputs = head.get("inputs", {}).get("parameters", [])
    return StepRun(
        step=head["templateName"],
        service=next((each.get("value", "") for each in inputs if each["name"] == "service"), ""),
        phase=head.get("phase", ""),
        outputs={each["name"]: each["value"] for each in outputs if "value" in each},
        tries=tuple(
            Try(
                phase=pod.get("phase", ""),
                message=pod.get("message", ""),
                exit_code=pod.get("outputs", {}).get("exitCode", ""),
                started=pod.get("startedAt") or "",
                finished=pod.get("finishedAt") or "",
            )
            for pod in pods
        ),
    )


def _message_of_another_node(nodes: Mapping[str, dict[str, Any]]) -> str:
    """What a DAG or a group says that failed before it had a pod."""
    failed = [node for node in nodes.values() if node.get("phase") in FAILED and node["type"] != "Pod" and node.get("message")]
    return str(min(failed, key=lambda node: (node.get("finishedAt") or "", node["id"]))["message"]) if failed else ""


def _when(step: StepRun) -> tuple[bool, str, str, str]:
    """The order in which steps failed; the report comes last, whatever the clock says."""
    last = step.last_failed_try
    assert last is not None, "only steps that failed are put in order"
    return (step.step == REPORT, last.finished, last.started, step.name)
