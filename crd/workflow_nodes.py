"""The steps of a run, read from a Workflow object.

Argo keeps one flat table of nodes: DAGs, groups, retries, and a pod for each attempt. Here it becomes what the graph has: one
entry for each step, ``fetch`` or ``image-classification/smoke``, with its attempts and its outputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from crd.kubernetes_objects import NodeObject, ParameterObject, WorkflowObject
from crd.stored_nodes import read_nodes
from steps.command.flags import split_list
from steps.core.graph import REPORT as REPORT_NODE

FETCH, REPORT = "fetch", REPORT_NODE.name  # the report is the exit handler: it decides nothing
FINISHED = frozenset({"Succeeded", "Failed", "Error"})
FAILED = frozenset({"Failed", "Error"})
_ATTEMPT = re.compile(r"\(\d+\)$")  # how Argo numbers the pods of a Retry node


@dataclass(frozen=True)
class Attempt:
    """One pod of a step. Times are RFC 3339; ``exit_code`` is empty where Argo does not know it."""

    phase: str
    message: str
    exit_code: str
    started: str
    finished: str


@dataclass(frozen=True)
class StepRun:
    """One step of a run. ``service`` is empty outside of the branches; there are outputs once the step has succeeded."""

    step: str
    service: str
    phase: str
    outputs: Mapping[str, str]
    attempts: tuple[Attempt, ...]

    @property
    def name(self) -> str:
        """The name in records and reports: ``fetch``, ``image-classification/smoke``."""
        return f"{self.service}/{self.step}" if self.service else self.step

    @property
    def succeeded(self) -> bool:
        """Whether the step has succeeded."""
        return self.phase == "Succeeded"

    @property
    def last_failed_attempt(self) -> Attempt | None:
        """The newest attempt that failed, unless the step has succeeded since."""
        failed = [each for each in self.attempts if each.phase in FAILED]
        return failed[-1] if failed and not self.succeeded else None


@dataclass(frozen=True)
class WorkflowRun:
    """A Workflow as it was read. ``finished`` is RFC 3339, empty before the end.

    ``unreadable`` says why the steps cannot be read; such a run has no steps, and does not count as one that has succeeded.
    """

    name: str
    phase: str
    message: str
    steps: tuple[StepRun, ...]
    succeeded: bool
    finished: str
    unreadable: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more happens, exit handler included."""
        return self.phase in FINISHED

    @property
    def services(self) -> tuple[str, ...]:
        """The tasks that fetch named; empty until it has ended."""
        return split_list(next((step.outputs.get("services", "") for step in self.steps if step.name == FETCH), ""))

    @property
    def failed_steps(self) -> tuple[StepRun, ...]:
        """Steps that will not succeed any more, in the order in which they failed, the report last.

        In a Workflow that was stopped, Argo leaves a Retry node Running for ever: its last attempt decides.
        """
        failed = [
            (step.step == REPORT, last.finished, last.started, step.name, step)
            for step in self.steps
            if (last := step.last_failed_attempt) and (step.phase in FAILED or self.ended)
        ]
        return tuple(step for *_, step in sorted(failed, key=lambda each: each[:4]))


def read_run(workflow: WorkflowObject) -> WorkflowRun:
    """The run of a Workflow object as the API server stores it."""
    name, status = workflow["metadata"]["name"], workflow.get("status", {})
    nodes, unreadable = read_nodes(workflow)
    retries = {node["name"] for node in nodes.values() if node["type"] == "Retry"}
    steps: dict[str, list[NodeObject]] = {}
    for node in nodes.values():
        if node["type"] in ("Retry", "Pod"):
            without_number = _ATTEMPT.sub("", node["name"])
            steps.setdefault(without_number if without_number in retries else node["name"], []).append(node)
    phase = status.get("phase", "")
    root = nodes.get(name)
    return WorkflowRun(
        name=name,
        phase=phase,
        message=status.get("message", "") or unreadable or _message_of_another_node(nodes),
        steps=tuple(sorted((_step(group) for group in steps.values()), key=lambda step: step.name)),
        # A run whose report alone failed is a Failed Workflow with a DAG that succeeded.
        succeeded=not unreadable
        and (phase == "Succeeded" or (phase in FAILED and root is not None and root.get("phase") == "Succeeded")),
        finished=status.get("finishedAt") or "",
        unreadable=unreadable,
    )


def _step(group: list[NodeObject]) -> StepRun:
    """One step, from its pods and, where the template repeats it, from its Retry node, which has the phase and the outputs."""
    pods = sorted(
        (node for node in group if node["type"] == "Pod"), key=lambda node: (node.get("startedAt") or "", node["name"])
    )
    head = next((node for node in group if node["type"] == "Retry"), pods[-1] if pods else group[0])
    inputs = _values(head.get("inputs", {}).get("parameters", []))
    return StepRun(
        step=head.get("templateName", ""),
        service=inputs.get("service", ""),
        phase=head.get("phase", ""),
        outputs=_values(head.get("outputs", {}).get("parameters", [])),
        attempts=tuple(
            Attempt(
                phase=pod.get("phase", ""),
                message=pod.get("message", ""),
                exit_code=pod.get("outputs", {}).get("exitCode", ""),
                started=pod.get("startedAt") or "",
                finished=pod.get("finishedAt") or "",
            )
            for pod in pods
        ),
    )


def _values(parameters: list[ParameterObject]) -> dict[str, str]:
    """The parameters that have a value, by name."""
    return {each["name"]: each["value"] for each in parameters if "value" in each}


def _message_of_another_node(nodes: Mapping[str, NodeObject]) -> str:
    """The message of the first DAG or group that failed before it had a pod; empty where there is none."""
    failed = [node for node in nodes.values() if node.get("phase") in FAILED and node["type"] != "Pod" and node.get("message")]
    if not failed:
        return ""
    return min(failed, key=lambda node: (node.get("finishedAt") or "", node["id"])).get("message", "")
