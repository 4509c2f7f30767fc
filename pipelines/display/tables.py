"""Tables and closing texts for a person: the outcome of a run on this machine, Models and runs in the cluster, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from crd.kubernetes_objects import ModelObject, ServiceStatusObject
from pipelines.cluster.runs import ModelRun, Phase
from pipelines.cluster.steps import StepState
from pipelines.display.console import STEP_STYLES, program
from pipelines.display.json_lines import describe_model, describe_outcome
from pipelines.display.lines import remark
from pipelines.local import Outcome
from steps.core.errors import Reason
from steps.core.graph import ARCHIVE, BUILD, CLOUDBUILD, FETCH, LOAD, RENDER, SMOKE
from steps.core.receipts import Failure, Receipt
from steps.core.store import Store
from steps.core.text import display_text, format_bytes, format_rough_duration, format_seconds

SHORT_REVISION = 12  # characters of a commit in a table
READY_COLOURS: Mapping[str, str] = {"True": "green", "False": "red", "Unknown": "yellow"}


def print_outcome(outcome: Outcome, store: Store, console: Console) -> None:
    """Print a finished run on this machine: each node with its time and its result, then places and digests in full."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step", overflow="fold")
    table.add_column("", overflow="fold")
    table.add_column("time", justify="right", overflow="fold")
    table.add_column("CPU", justify="right", overflow="fold")
    table.add_column("result", overflow="fold")
    for node in outcome.nodes:
        if receipt := outcome.receipts.get(node):
            mark = "[cyan]=[/cyan]" if node in outcome.skipped else "[green]✓[/green]"
            cpu = format_seconds(receipt.cpu_seconds)
            table.add_row(escape(node), mark, format_seconds(receipt.seconds), cpu, escape(summarize(receipt)))
        elif error := outcome.failures.get(node):
            table.add_row(escape(node), "[red]✗[/red]", "", "", f"[red]{error.reason}[/red]")
        else:
            table.add_row(f"[dim]{escape(node)}[/dim]", "[dim]·[/dim]", "", "", "[dim]not reached[/dim]")
    console.print(table)
    values = describe_outcome(outcome, store)
    if values["setDigest"]:
        console.print(f"\nset digest  {values['setDigest']}", soft_wrap=True)
    for service, made in values["services"].items():
        console.print(f"\n[bold]{escape(service)}[/bold]")
        console.print(f"  archive   {escape(made['archive'])} ({format_bytes(made['archiveBytes'])})", soft_wrap=True)
        console.print(f"            {made['archiveDigest']}", soft_wrap=True)
        if made["image"]:
            console.print(
                f"  image     {escape(made['image'])} {made['imageDigest'] or '(planned, not built)'}", soft_wrap=True
            )
        console.print(f"  serve it  {escape(program())} serve {escape(made['archive'])}", soft_wrap=True)
    if outcome.report:
        console.print(f"\nreport      {escape(outcome.report)}", soft_wrap=True)
    if outcome.nothing_to_do:
        console.print("\nNothing to do: every step was done before, and every digest is still right.")


def summarize(receipt: Receipt) -> str:
    """The result of a step in a few words."""
    out = receipt.outputs
    if receipt.step == FETCH.name:
        fetched = f"{out['files']} files, {format_bytes(out['bytes'])}"
        return fetched + (f" ({format_bytes(out['left_bytes'])} not fetched)" if out["left_files"] else "")
    if receipt.step == LOAD.name:
        return f"{out['architecture']}, {out['parameters']:,} parameters"
    if receipt.step == RENDER.name:
        return str(out["bento"])
    if receipt.step == ARCHIVE.name:
        return f"{format_bytes(out['archive_bytes'])}, sha256:{out['archive_digest'][:12]}…"
    if receipt.step == BUILD.name:
        return f"{out['image']}{'' if out['image_digest'] else ' (planned)'}"
    if receipt.step == CLOUDBUILD.name:
        return f"{out['image']}, by build {out['build']}"
    if receipt.step == SMOKE.name:
        return f"answers as the model does, {out['latency_ms']} ms, {format_bytes(out['rss_bytes'])}"
    return ""


def print_failure(failure: Failure, console: Console, *, node: str = "") -> None:
    """Print a failure: where, why, and what to do."""
    where = f" in {escape(node)}" if node else ""
    console.print(f"[bold red]error[/bold red]{where}: [bold]{failure.reason}[/bold]", soft_wrap=True)
    console.print(f"  {escape(failure.message)}", soft_wrap=True)
    if failure.hint:
        console.print(f"  [dim]hint:[/dim] {escape(failure.hint)}", soft_wrap=True)
    if failure.retryable and failure.reason not in (Reason.INTERRUPTED, Reason.TERMINATED):
        console.print("  This is transient: the same command goes on where it stopped.", soft_wrap=True)


def models_table(models: Sequence[ModelObject], now: datetime) -> Table:
    """One row for each Model in the cluster."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "ready", "reason", "revision"):
        table.add_column(heading)
    table.add_column("age", justify="right")
    for model in models:
        row = describe_model(model, now)
        table.add_row(
            escape(row["name"]),
            f"[{READY_COLOURS.get(row['ready'], 'yellow')}]{escape(display_text(row['ready']))}[/]",
            escape(row["reason"]),
            escape(row["revision"][:SHORT_REVISION]),
            format_rough_duration(row["ageSeconds"]),
        )
    return table


def steps_table(steps: Sequence[StepState], now: datetime) -> Table:
    """Each step with its state, its time, and the reason where it failed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step")
    table.add_column("")
    table.add_column("state")
    table.add_column("time", justify="right")
    table.add_column("", overflow="fold")
    for step in steps:
        mark, colour = STEP_STYLES[step.state]
        seconds = step.seconds(now)
        table.add_row(
            escape(step.name),
            f"[{colour}]{mark}[/]",
            f"[{colour}]{step.state}[/]",
            format_seconds(seconds) if seconds is not None else "",
            escape(remark(step)),
        )
    return table


def print_run(run: ModelRun, console: Console, now: datetime) -> None:
    """Print a run in the cluster in full: conditions, services, steps, and the last failure."""
    console.print(f"[bold]{escape(run.name)}[/bold]: {run.phase}, Workflow {escape(run.workflow_name)}", soft_wrap=True)
    if run.workflow is None and run.phase is not Phase.WAITING:
        console.print("[dim]The Workflow was deleted since; its results are in the store and in the status.[/dim]")
    _print_conditions(run, console)
    if revision := run.status.get("revision"):
        console.print(f"\nrevision    {escape(display_text(revision))}", soft_wrap=True)
    if digest := run.status.get("setDigest"):
        console.print(f"set digest  {escape(display_text(digest))}", soft_wrap=True)
    for service in run.status.get("services") or ():
        _print_service(service, console)
    if report := run.status.get("report"):
        console.print(f"\nreport      {escape(display_text(report, 600))}, a key in the store", soft_wrap=True)
    if run.unreadable:
        console.print(f"\n{escape(run.unreadable)}", soft_wrap=True)
    elif run.workflow is not None:
        console.print()
        console.print(steps_table(run.steps, now))
    if run.failure:
        console.print()
        print_failure(run.failure[1], console, node=run.failure[0])


def _print_conditions(run: ModelRun, console: Console) -> None:
    conditions = run.status.get("conditions") or ()
    if not conditions:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("condition", "", "reason"):
        table.add_column(heading)
    table.add_column("message", overflow="fold")
    for found in conditions:
        # A condition that is not met is bad where its reason is a failure's: an image that was only planned is not.
        failed = found.get("reason") in tuple(Reason)
        colour = "red" if failed else "green" if found["status"] == "True" else "dim"
        table.add_row(
            escape(display_text(found["type"])),
            f"[{colour}]{escape(found['status'])}[/]",
            escape(display_text(found.get("reason", ""))),
            escape(display_text(found.get("message", ""), 1024)),
        )
    console.print()
    console.print(table)


def _print_service(service: ServiceStatusObject, console: Console) -> None:
    if not service.get("archive"):
        return
    console.print(f"\n[bold]{escape(display_text(service['task']))}[/bold]")
    places = (
        ("archive", service.get("archive"), service.get("archiveDigest")),
        ("image", service.get("image"), service.get("imageDigest")),
    )
    for label, place, digest in places:
        if place:
            what = digest or "(planned, not built)"
            console.print(
                f"  {label:<8}  {escape(display_text(place, 600))}\n            {escape(display_text(what))}", soft_wrap=True
            )
