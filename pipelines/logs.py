"""``slipway logs``: what the steps of a run wrote, from their pods.

Argo deletes the pods of a run that succeeded at once, and those of a failed one later, with the Workflow. What a step did is
then still in the run's records and its report, in the store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.cluster import POD, Cluster
from pipelines.nodes import State, StepState
from pipelines.runs import Run
from steps.errors import Reason, SlipwayError
from steps.reporting.words import shown

NODE_ID = "workflows.argoproj.io/node-id"
WORKFLOW_LABEL = "workflows.argoproj.io/workflow"
EXECUTOR = " argo=true"  # in each of the lines that Argo's executor writes into the same log
ENDED = re.compile(r"Error: exit status \d+")


def logs(cluster: Cluster, run: Run, wanted: str = "") -> Iterator[str]:
    """The lines of all steps, or of the one named, tries in order, each under a heading. Raises ``InvalidInput``."""
    if run.workflow is None:
        yield f"The Workflow {run.workflow_name} is not there: it was collected, or has not begun. {kept(run)}"
        return
    found = cluster.search(POD, labels=f"{WORKFLOW_LABEL}={run.workflow_name}")
    pods = {pod["metadata"]["annotations"].get(NODE_ID, ""): pod["metadata"]["name"] for pod in found}
    for step in chosen(run, wanted):
        nodes = tries(run.workflow, step)
        if wanted and not nodes:
            yield f"{step.name} is {step.state}: it wrote nothing."
        for number, node in enumerate(nodes, 1):
            yield heading(step, number)
            if node["id"] not in pods:
                yield f"The pod was collected. {kept(run, step.name)}"
            elif node.get("phase") == "Pending":
                yield f"The pod has not begun. {shown(node.get('message', ''), 2000)}"
            else:
                yield from own_words(cluster.log(pods[node["id"]]))


def tries(workflow: Mapping[str, Any], step: StepState) -> list[dict[str, Any]]:
    """The nodes of a step's pods, the first try in front."""
    service, _, name = step.name.rpartition("/")

    def belongs(node: Mapping[str, Any]) -> bool:
        inputs = (node.get("inputs") or {}).get("parameters") or ()
        own = next((each.get("value", "") for each in inputs if each["name"] == "service"), "")
        return bool(node["type"] == "Pod" and node["templateName"] == name and own == service)

    nodes = [node for node in workflow.get("status", {}).get("nodes", {}).values() if belongs(node)]
    return sorted(nodes, key=lambda node: (node.get("startedAt") or "", node["name"]))


def chosen(run: Run, wanted: str) -> list[StepState]:
    """The steps that were asked for, in the order in which they began."""
    steps = sorted(run.steps, key=lambda step: (step.started is None, step.started))
    found = [step for step in steps if wanted in ("", step.name)]
    if not found:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"The run {run.name} has no step {wanted}.",
            hint=f"Its steps: {', '.join(step.name for step in run.steps)}.",
        )
    return found


def heading(step: StepState, number: int) -> str:
    which = f", try {number} of {step.tries}" if step.tries > 1 else ""
    return f"── {step.name}{which}: {step.state if number == step.tries else State.FAILED} ──"


def own_words(lines: list[str]) -> list[str]:
    """A log without what Argo's executor added: its own lines, and how the process ended."""
    return [line for line in lines if not (line.startswith("time=") and EXECUTOR in line) and not ENDED.fullmatch(line)]


def kept(run: Run, step: str = "") -> str:
    """Where to look once the pods are gone."""
    folder = f"runs/{run.workflow_name}"
    return f"The store keeps its record ({folder}/{step or '<step>'}.json) and the report ({folder}/report.html)."
