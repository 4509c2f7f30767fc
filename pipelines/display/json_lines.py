"""A run as JSON lines, for programs: one object a line on standard output.

Each object has an ``event``: ``begin``, ``node`` (a node changed its state), ``note``, ``progress`` or, at the end, ``result``.
A command that ends before there is a result, for a wrong manifest or by Ctrl-C, writes a ``result`` with the ``failure`` alone.
Digests have their ``sha256:`` prefix; sizes are bytes, durations seconds unless their name says otherwise.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TextIO, TypedDict

from crd.kubernetes_objects import ModelObject
from crd.observe import model_failure
from crd.status import ConditionType, ProgressReason
from pipelines.cluster.runs import ModelRun, Phase, age, condition
from pipelines.cluster.steps import State, StepState
from pipelines.cluster.watch import RunView
from pipelines.display.lines import resume_note
from pipelines.local import NodeState, Observer, Outcome
from steps.core.graph import ARCHIVE, BUILD, CLOUDBUILD, FETCH, SMOKE
from steps.core.progress import Progress, ProgressEvent
from steps.core.receipts import Failure, Receipt
from steps.core.store import Store
from steps.core.text import display_text


class ModelRow(TypedDict):
    """A Model in one row; ``ready`` is the status of the condition Ready."""

    name: str
    ready: str
    reason: str
    revision: str
    ageSeconds: int


class ServiceResult(TypedDict):
    """A packaged service of a run on this machine; empty or None where a step was not reached."""

    archive: str
    archiveDigest: str
    archiveBytes: int
    image: str
    imageDigest: str
    latencyMs: int | None
    rssBytes: int | None


class RunResult(TypedDict):
    """A finished run on this machine; ``failures`` by node, the first of them also as ``failure``, with its ``step``."""

    run: str
    nothingToDo: bool
    revision: str
    setDigest: str
    services: dict[str, ServiceResult]
    report: str
    failures: dict[str, dict[str, object]]
    failure: dict[str, object] | None


class JsonDisplay(Observer):
    """A run on this machine."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: str, **values: object) -> None:
        """Write one event."""
        print(json.dumps({"event": event, **values}), file=self._stream, flush=True)

    def begin(self, run: str, nodes: tuple[str, ...], before: list[Receipt]) -> None:
        """Write the name of the run and its nodes."""
        self.write("begin", run=run, nodes=nodes, message=resume_note(nodes, before))

    def progress(self, node: str) -> Progress:
        """Notes and meters of a node as events."""
        return _JsonProgress(self, node)

    def changed(self, node: str, state: NodeState) -> None:
        """Write the new state of a node."""
        self.write("node", node=node, state=state)


class _JsonProgress(Progress):
    def __init__(self, display: JsonDisplay, node: str) -> None:
        self._display, self._node = display, node

    def emit(self, event: ProgressEvent) -> None:
        values = asdict(event)
        self._display.write(values.pop("kind"), node=self._node, **values)


class JsonView(RunView):
    """A run in the cluster; its ``result`` is what ``slipway status --json`` prints of it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._written: dict[str, State] = {}

    def show(self, run: ModelRun) -> None:
        """Write what changed, and the result once the run has ended."""
        super().show(run)
        if run.phase in (Phase.SUCCEEDED, Phase.FAILED):
            self._write("result", **describe_run(run, datetime.now(UTC)))

    def show_step(self, step: StepState) -> None:
        """Write the state of a step where it has changed."""
        if self._written.get(step.name, State.WAITING) != step.state:
            self._written[step.name] = step.state
            self._write("node", node=step.name, state=step.state)

    def note(self, text: str) -> None:
        """Write a sentence."""
        self._write("note", text=text)

    def _write(self, event: str, **values: object) -> None:
        print(json.dumps({"event": event, **values}), file=self._stream, flush=True)


def describe_outcome(outcome: Outcome, store: Store) -> RunResult:
    """A finished run on this machine: digests, places in the store, and the failures by node."""
    outputs = {node: receipt.outputs for node, receipt in outcome.receipts.items()}
    fetched = outputs.get(FETCH.name, {})
    services: dict[str, ServiceResult] = {}
    for node in outcome.nodes:
        service, _, step = node.partition("/")
        if step == ARCHIVE.name and node in outputs:
            built = outputs.get(f"{service}/{BUILD.name}", {})
            tested = outputs.get(f"{service}/{SMOKE.name}", {})
            services[service] = {
                "archive": store.locate(outputs[node]["archive"]),
                "archiveDigest": f"sha256:{outputs[node]['archive_digest']}",
                "archiveBytes": outputs[node]["archive_bytes"],
                "image": built.get("image", ""),
                "imageDigest": outputs.get(f"{service}/{CLOUDBUILD.name}", built).get("image_digest", ""),
                "latencyMs": tested.get("latency_ms"),
                "rssBytes": tested.get("rss_bytes"),
            }
    failures = {node: Failure.from_error(error).model_dump(mode="json") for node, error in outcome.failures.items()}
    return {
        "run": outcome.run,
        "nothingToDo": outcome.nothing_to_do,
        "revision": fetched.get("revision", ""),
        "setDigest": f"sha256:{fetched['set_digest']}" if fetched else "",
        "services": services,
        "report": outcome.report,
        "failures": failures,
        "failure": next(({"step": node, **failure} for node, failure in failures.items()), None),
    }


def describe_run(run: ModelRun, now: datetime) -> dict[str, object]:
    """A run in the cluster: what its status and its steps say."""
    failure = run.failure
    return {
        "name": run.name,
        "phase": run.phase,
        "workflow": run.workflow_name,
        "revision": run.status.get("revision", ""),
        "setDigest": run.status.get("setDigest", ""),
        "report": run.status.get("report", ""),
        "services": run.status.get("services", []),
        "conditions": run.status.get("conditions", []),
        "failure": {"step": failure[0], **failure[1].model_dump(mode="json")} if failure else None,
        "steps": [
            {
                "name": step.name,
                "state": step.state,
                "seconds": step.seconds(now),
                "tries": step.tries,
                "failure": step.failure.model_dump(mode="json") if step.failure else None,
            }
            for step in run.steps
        ],
    }


def describe_model(model: ModelObject, now: datetime) -> ModelRow:
    """A Model in one row: what of its status is about its newest generation."""
    status = model.get("status") or {}
    ready = condition(model, ConditionType.READY)
    decided = condition(model, ConditionType.STALLED) or ready
    refused = None if decided else model_failure(model)  # the API server may take no status for such a Model
    unknown = refused.reason if refused else ProgressReason.STARTING
    return {
        "name": display_text(model["metadata"]["name"]),
        "ready": ready["status"] if ready else "False" if refused else "Unknown",
        "reason": display_text(decided.get("reason", "") if decided else unknown),
        "revision": display_text(status.get("revision", "")),
        "ageSeconds": round(age(model["metadata"]["creationTimestamp"], now)),
    }
