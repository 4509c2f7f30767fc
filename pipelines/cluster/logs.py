"""What the steps of a run wrote, from the logs of their pods.

Argo deletes the pods of a run that succeeded at once, and those of a failed one later, with the Workflow. What a step did is
then still in the run's records and its report, in the store.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator

from crd.kubernetes_client import KubernetesClient
from crd.kubernetes_objects import NodeObject, WorkflowObject
from crd.resource_kinds import POD
from crd.stored_nodes import read_nodes
from pipelines.cluster.runs import ModelRun, Phase
from pipelines.cluster.steps import State, StepState
from pipelines.cluster.watch import RunView
from steps.core.errors import Reason, SlipwayError
from steps.core.text import display_text

NODE_ID = "workflows.argoproj.io/node-id"  # annotation of a step's pod
WORKFLOW_LABEL = "workflows.argoproj.io/workflow"
EXECUTOR_MARK = " argo=true"  # in each of the lines that Argo's executor writes into the same log
EXIT_LINE = re.compile(r"Error: exit status \d+")  # how the executor says that the process failed


def read_logs(cluster: KubernetesClient, run: ModelRun, wanted: str = "") -> Iterator[str]:
    """Yield the lines of all steps, or of the one named ``wanted``, attempt by attempt, each under a heading.

    Raises:
        SlipwayError: ``InvalidInput`` for a step that the run does not have.
    """
    if run.workflow is None:
        yield missing_note(run)
        return
    if run.unreadable:
        yield f"{run.unreadable} {records_note(run)}"
        return
    pods = pods_of(cluster, run)
    for step in select_steps(run, wanted):
        nodes = nodes_of(run.workflow, step)
        if wanted and not nodes:
            yield f"{step.name} is {step.state}: it has no log."
        for number, node in enumerate(nodes, 1):
            yield heading(step, number)
            if node["id"] not in pods:
                yield f"The pod was deleted. {records_note(run, step.name)}"
            elif node.get("phase") == "Pending":
                yield f"The pod has not started. {display_text(node.get('message', ''), 2000)}"
            else:
                yield from step_lines(cluster.read_log(pods[node["id"]]))


class LogFollower(RunView):
    """Writes what the steps log while they run, each line once; headings tell the steps apart that run at the same time.

    The logs are read again with every look at the run, from the last known second on, so no connection has to stay open.
    """

    def __init__(self, cluster: KubernetesClient, wanted: str, write: Callable[[str], None]) -> None:
        self._cluster, self._wanted, self._print = cluster, wanted, write
        self._known: dict[str, list[tuple[str, str]]] = {}  # by node: the lines of the last answer, with their times
        self._ended: set[str] = set()
        self._heading = ""  # the last one that was written

    def show(self, run: ModelRun) -> None:
        """Write the lines that are new."""
        if run.workflow is None:
            if run.phase is not Phase.WAITING:
                self._print(missing_note(run))
            return
        if run.unreadable:  # `poll_run` says so
            return
        pods = pods_of(self._cluster, run)
        for step in select_steps(run, self._wanted):
            for number, node in enumerate(nodes_of(run.workflow, step), 1):
                if node["id"] not in self._ended and node.get("phase") != "Pending":
                    self._step(run, step, number, node["id"], pods.get(node["id"], ""))

    def _step(self, run: ModelRun, step: StepState, number: int, node: str, pod: str) -> None:
        # Argo decides a moment after a failed attempt whether there is another one.
        ended = number < step.tries or step.state not in (State.STARTING, State.RUNNING, State.RETRYING)
        known, lines = self._known.get(node, []), []
        if pod:
            found = self._cluster.read_log_since(pod, known[-1][0] if known else "")
            self._known[node] = found or known
            written = set(known)
            lines = step_lines(line[1] for line in found if line not in written)
        elif ended and not known:
            lines = [f"The pod was deleted. {records_note(run, step.name)}"]
        for line in lines:
            self._under(open_heading(step, number))
            self._print(line)
        if ended:
            self._ended.add(node)
            self._under(heading(step, number))

    def _under(self, heading: str) -> None:
        if heading != self._heading:
            self._heading = heading
            self._print(heading)

    def note(self, text: str) -> None:
        """Write a sentence to standard error."""
        print(text, file=sys.stderr, flush=True)


def pods_of(cluster: KubernetesClient, run: ModelRun) -> dict[str, str]:
    """Return the names of the pods by the ids of their nodes."""
    found = cluster.list_objects(POD, labels=f"{WORKFLOW_LABEL}={run.workflow_name}")
    return {(pod["metadata"].get("annotations") or {}).get(NODE_ID, ""): pod["metadata"]["name"] for pod in found}


def nodes_of(workflow: WorkflowObject, step: StepState) -> list[NodeObject]:
    """Return the nodes of a step's pods, the first attempt first."""
    service, _, name = step.name.rpartition("/")

    def belongs(node: NodeObject) -> bool:
        inputs = (node.get("inputs") or {}).get("parameters") or ()
        own = next((each.get("value", "") for each in inputs if each["name"] == "service"), "")
        return node["type"] == "Pod" and node.get("templateName") == name and own == service

    nodes = [node for node in read_nodes(workflow)[0].values() if belongs(node)]
    return sorted(nodes, key=lambda node: (node.get("startedAt") or "", node["name"]))


def select_steps(run: ModelRun, wanted: str) -> list[StepState]:
    """Return all steps, or the one named ``wanted``, in the order in which they began. Raises ``InvalidInput``."""
    steps = sorted(run.steps, key=lambda step: (step.started is None, step.started))
    found = [step for step in steps if wanted in ("", step.name)]
    if not found:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"The run {run.name} has no step {wanted}.",
            hint=f"Its steps: {', '.join(step.name for step in run.steps)}.",
        )
    return found


def open_heading(step: StepState, number: int) -> str:
    """Return the heading of an attempt that is running."""
    return f"── {step.name}{f', try {number}' if number > 1 else ''} ──"


def heading(step: StepState, number: int) -> str:
    """Return the heading of an attempt, with its state."""
    which = f", try {number} of {step.tries}" if step.tries > 1 else ""
    return f"── {step.name}{which}: {step.state if number == step.tries else State.FAILED} ──"


def step_lines(lines: Iterable[str]) -> list[str]:
    """Return a log without what Argo's executor adds: its own lines, and how the process ended."""
    return [
        line for line in lines if not (line.startswith("time=") and EXECUTOR_MARK in line) and not EXIT_LINE.fullmatch(line)
    ]


def missing_note(run: ModelRun) -> str:
    """Return what to write without a Workflow."""
    return f"The Workflow {run.workflow_name} does not exist: it was deleted, or has not been created yet. {records_note(run)}"


def records_note(run: ModelRun, step: str = "") -> str:
    """Return where to look once the pods are deleted."""
    folder = f"runs/{run.workflow_name}"
    return f"The store keeps its record ({folder}/{step or '<step>'}.json) and the report ({folder}/report.html)."
