"""``slipway status``: all Models as a table, or one run in full: conditions, services, steps, and the last failure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crd.kubernetes_client import KubernetesClient
from crd.resource_kinds import MODEL
from crd.status import ConditionType, ProgressReason
from pipelines.cluster.runs import Phase, Run, age, condition
from pipelines.cluster.steps import State, StepState
from pipelines.display import run as display
from steps.core.errors import Reason
from steps.core.text import display_text, format_rough_duration, format_seconds

SHORT = 12  # characters of a commit that a table shows
LOOKS = {
    State.WAITING: ("·", "dim"),
    State.STARTING: ("…", "dim"),
    State.RUNNING: ("…", "cyan"),
    State.RETRYING: ("↻", "yellow"),
    State.DONE: ("✓", "green"),
    State.FAILED: ("✗", "red"),
    State.NOT_REACHED: ("·", "dim"),
}
COLOURS = {"True": "green", "False": "red", "Unknown": "yellow"}


def row(model: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """A Model in a few words. A status that is about an older generation counts for nothing."""
    status = model.get("status") or {}
    ready = condition(model, ConditionType.READY)
    stalled = condition(model, ConditionType.STALLED)
    return {
        "name": model["metadata"]["name"],
        "ready": ready["status"] if ready else "Unknown",
        "reason": display_text((stalled or ready or {"reason": ProgressReason.STARTING})["reason"]),
        "revision": display_text(status.get("revision", "")),
        "ageSeconds": round(age(model["metadata"]["creationTimestamp"], now)),
    }


def models_table(models: Sequence[Mapping[str, Any]], now: datetime) -> Table:
    """One line for each Model."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("name", "ready", "reason", "revision"):
        table.add_column(name)
    table.add_column("age", justify="right")
    for model in models:
        short = row(model, now)
        table.add_row(
            escape(short["name"]),
            f"[{COLOURS[short['ready']]}]{short['ready']}[/]",
            escape(short["reason"]),
            escape(short["revision"][:SHORT]),
            format_rough_duration(short["ageSeconds"]),
        )
    return table


def show_all(cluster: KubernetesClient, console: Console, now: datetime, *, as_json: bool) -> None:
    """All Models of the namespace."""
    models = cluster.list_objects(MODEL)
    if as_json:
        print(json.dumps([row(model, now) for model in models], indent=1))
    elif models:
        console.print(models_table(models, now))
    else:
        console.print(f"No Models in the namespace {cluster.namespace}. `slipway submit -f model.yaml` makes one.")


def show_one(run: Run, console: Console, now: datetime, *, as_json: bool) -> None:
    """One run in full."""
    if as_json:
        print(json.dumps(describe(run, now), indent=1))
    else:
        print_run(run, console, now)


def describe(run: Run, now: datetime) -> dict[str, Any]:
    """A run for machines. Times are UTC (RFC 3339), durations seconds."""
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


def steps_table(steps: Sequence[StepState], now: datetime) -> Table:
    """Each step with its state, its time, and what there is to say."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step")
    table.add_column("")
    table.add_column("state")
    table.add_column("time", justify="right")
    table.add_column("", overflow="fold")
    for step in steps:
        mark, colour = LOOKS[step.state]
        seconds = step.seconds(now)
        table.add_row(
            escape(step.name),
            f"[{colour}]{mark}[/]",
            f"[{colour}]{step.state}[/]",
            format_seconds(seconds) if seconds is not None else "",
            escape(remark(step)),
        )
    return table


def remark(step: StepState) -> str:
    """What a person should know of a step besides its state: the reason of its failure, its number of tries."""
    return ", ".join([*([f"try {step.tries}"] if step.tries > 1 else []), *([step.failure.reason] if step.failure else [])])


def print_run(run: Run, console: Console, now: datetime) -> None:
    """A run in full, for a person."""
    console.print(f"[bold]{escape(run.name)}[/bold]: {run.phase}, Workflow {escape(run.workflow_name)}", soft_wrap=True)
    if run.workflow is None and run.phase is not Phase.WAITING:
        console.print("[dim]The Workflow itself was collected; what it left is in the store and in the status.[/dim]")
    _print_conditions(run, console)
    if revision := run.status.get("revision"):
        console.print(f"\nrevision    {escape(display_text(revision))}", soft_wrap=True)
    if digest := run.status.get("setDigest"):
        console.print(f"set digest  {escape(display_text(digest))}", soft_wrap=True)
    for service in run.status.get("services") or ():
        _print_service(service, console)
    if report := run.status.get("report"):
        console.print(f"\nreport      {escape(display_text(report, 600))}, a key in the store", soft_wrap=True)
    if run.workflow is not None:
        console.print()
        console.print(steps_table(run.steps, now))
    if run.failure:
        console.print()
        display.print_failure(run.failure[1], console, node=run.failure[0])


def _print_conditions(run: Run, console: Console) -> None:
    conditions = run.status.get("conditions") or ()
    if not conditions:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("condition", "", "reason"):
        table.add_column(name)
    table.add_column("message", overflow="fold")
    for found in conditions:
        # A condition that is not met is bad where its reason is a failure's: an image that was only planned is none.
        failed = found["reason"] in tuple(Reason)
        colour = "red" if failed else "green" if found["status"] == "True" else "dim"
        table.add_row(
            escape(display_text(found["type"])),
            f"[{colour}]{escape(found['status'])}[/]",
            escape(display_text(found["reason"])),
            escape(display_text(found.get("message", ""), 1024)),
        )
    console.print()
    console.print(table)


def _print_service(service: Mapping[str, Any], console: Console) -> None:
    if not service.get("archive"):
        return
    console.print(f"\n[bold]{escape(display_text(service['task']))}[/bold]")
    for label, name, digest in (("archive", "archive", "archiveDigest"), ("image", "image", "imageDigest")):
        if place := service.get(name):
            what = service.get(digest) or "(planned, not built)"
            console.print(
                f"  {label:<8}  {escape(display_text(place, 600))}\n            {escape(display_text(what))}", soft_wrap=True
            )
