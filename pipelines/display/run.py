"""How a run looks: live bars in a terminal, plain lines in a log, JSON lines for machines; and the closing table.

Progress goes to standard error, results to standard output, so that a pipe gets the results alone. ``--json`` writes one
object a line to standard output: ``{"event": "begin" | "node" | "note" | "progress" | "result", …}``.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from pipelines.local import Observer, Outcome, State
from steps.core.errors import Reason
from steps.core.progress import PlainProgress, Progress, ProgressEvent, meter_line
from steps.core.receipts import Failure, Receipt
from steps.core.store import Store
from steps.core.text import format_bytes, format_seconds

MARKS = {"running": "…", "done": "✓", "skipped": "=", "failed": "✗"}
WORDS = {"done": "done", "skipped": "done before, checked", "failed": "failed"}


def open_display(*, as_json: bool) -> Observer:
    """The display that fits where the output goes."""
    if as_json:
        return JsonDisplay(sys.stdout)
    if sys.stderr.isatty():
        return LiveDisplay()
    return PlainDisplay(sys.stderr)


def open_console(stream: TextIO) -> Console:
    """A console for results; where nothing says how wide it is (a pipe, a log), wide enough for the closing table."""
    return Console(file=stream, highlight=False, width=None if stream.isatty() else 120)


def going_on(nodes: tuple[str, ...], before: list[Receipt]) -> str:
    """What to say when an earlier run of the same wish was cut off or failed; empty for a first or a complete one."""
    states = {receipt.node: receipt for receipt in before}
    done = [*itertools.takewhile(lambda node: node in states and states[node].failure is None, nodes)]
    if not states or len(done) == len(nodes):
        return ""
    stopped = nodes[len(done)]
    reason = states[stopped].failure if stopped in states else None
    at = f"in {stopped} ({reason.reason})" if reason else f"before {stopped}"
    return f"Going on where the last run stopped, {at}. Done so far: {', '.join(done) or 'nothing'}."


class PlainDisplay(Observer):
    """One line for each thing that happens, with the node in front."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun: dict[str, float] = {}

    def begin(self, run: str, nodes: tuple[str, ...], before: list[Receipt]) -> None:
        if line := going_on(nodes, before):
            print(line, file=self._stream, flush=True)

    def progress(self, node: str) -> Progress:
        return PlainProgress(self._stream, f"  {node}: ")

    def changed(self, node: str, state: State) -> None:
        if state == "running":
            self._begun[node] = time.monotonic()
            return
        seconds = time.monotonic() - self._begun[node]
        print(f"{MARKS[state]} {node}: {WORDS[state]} ({format_seconds(seconds)})", file=self._stream, flush=True)


class LiveDisplay(Observer):
    """One live line for the node that runs, with bytes, rate and time left; finished nodes scroll up as lines."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._begun: dict[str, float] = {}

    def begin(self, run: str, nodes: tuple[str, ...], before: list[Receipt]) -> None:
        self._console.print(f"[bold]{escape(run)}[/bold]")
        if line := going_on(nodes, before):
            self._console.print(escape(line), style="yellow")

    def progress(self, node: str) -> Progress:
        return _Bar(self._bars, node)

    def changed(self, node: str, state: State) -> None:
        if state == "running":
            self._begun[node] = time.monotonic()
            self._bars.add_task(escape(node.rpartition("/")[2]), total=None, state="")
            self._bars.start()
            return
        self._bars.stop()
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        colour = {"done": "green", "skipped": "cyan", "failed": "red"}[state]
        seconds = format_seconds(time.monotonic() - self._begun[node])
        self._console.print(f"[{colour}]{MARKS[state]}[/{colour}] {escape(node)} [dim]{WORDS[state]}, {seconds}[/dim]")


class _Bar(Progress):
    def __init__(self, bars: Bars, node: str) -> None:
        self._bars, self._node = bars, node
        self._begun: dict[str, tuple[float, int]] = {}

    def emit(self, event: ProgressEvent) -> None:
        if event.kind == "note":
            self._bars.console.print(f"  [dim]{escape(event.text)}[/dim]")
            return
        now = time.monotonic()
        begun, before = self._begun.setdefault(event.text, (now, event.done))
        state = meter_line(event, now - begun, event.done - before).removeprefix(f"{event.text}: ")
        for task in self._bars.task_ids:
            self._bars.update(task, description=escape(event.text), completed=event.done, total=event.total, state=state)


class JsonDisplay(Observer):
    """Everything as JSON lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, event: str, **values: Any) -> None:
        print(json.dumps({"event": event, **values}), file=self._stream, flush=True)

    def begin(self, run: str, nodes: tuple[str, ...], before: list[Receipt]) -> None:
        self.say("begin", run=run, nodes=nodes, message=going_on(nodes, before))

    def progress(self, node: str) -> Progress:
        return _JsonSink(self, node)

    def changed(self, node: str, state: State) -> None:
        self.say("node", node=node, state=state)


class _JsonSink(Progress):
    def __init__(self, display: JsonDisplay, node: str) -> None:
        self._display, self._node = display, node

    def emit(self, event: ProgressEvent) -> None:
        values = asdict(event)
        self._display.say(values.pop("kind"), node=self._node, **values)


def result(outcome: Outcome, store: Store) -> dict[str, Any]:
    """The outcome for machines: digests with their ``sha256:`` prefix, places, and the failure if there is one."""
    outputs = {node: receipt.outputs for node, receipt in outcome.receipts.items()}
    fetched = outputs.get("fetch", {})
    services = {}
    for node in outcome.nodes:
        service, _, step = node.partition("/")
        if step == "archive" and node in outputs:
            plan = outputs.get(f"{service}/build", {})
            smoke = outputs.get(f"{service}/smoke", {})
            services[service] = {
                "archive": store.locate(outputs[node]["archive"]),
                "archiveDigest": f"sha256:{outputs[node]['archive_digest']}",
                "archiveBytes": outputs[node]["archive_bytes"],
                "image": plan.get("image", ""),
                "imageDigest": outputs.get(f"{service}/cloudbuild", plan).get("image_digest", ""),
                "latencyMs": smoke.get("latency_ms"),
                "rssBytes": smoke.get("rss_bytes"),
            }
    return {
        "run": outcome.run,
        "nothingToDo": outcome.nothing_to_do,
        "revision": fetched.get("revision", ""),
        "setDigest": f"sha256:{fetched['set_digest']}" if fetched else "",
        "services": services,
        "report": outcome.report,
        "failures": {node: Failure.from_error(error).model_dump(mode="json") for node, error in outcome.failures.items()},
    }


def print_outcome(outcome: Outcome, store: Store, console: Console) -> None:
    """The closing table: each node with its time and what came out, and then the digests in full."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, align in (("step", "left"), ("", "left"), ("time", "right"), ("CPU", "right"), ("result", "left")):
        table.add_column(name, justify=align, overflow="fold")  # type: ignore[arg-type]
    for node in outcome.nodes:
        if receipt := outcome.receipts.get(node):
            mark = "[cyan]=[/cyan]" if node in outcome.skipped else "[green]✓[/green]"
            cpu = format_seconds(receipt.cpu_seconds)
            table.add_row(escape(node), mark, format_seconds(receipt.seconds), cpu, escape(summary(receipt)))
        elif error := outcome.failures.get(node):
            table.add_row(escape(node), "[red]✗[/red]", "", "", f"[red]{error.reason}[/red]")
        else:
            table.add_row(f"[dim]{escape(node)}[/dim]", "[dim]·[/dim]", "", "", "[dim]not reached[/dim]")
    console.print(table)
    values = result(outcome, store)
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


def program() -> str:
    """How the command is called from here: by its name where that is found, else by its path."""
    path = Path(sys.executable).with_name("slipway")
    if shutil.which("slipway") or not path.exists():
        return "slipway"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def summary(receipt: Receipt) -> str:
    """What a step came to, in a few words."""
    out = receipt.outputs
    match receipt.step:
        case "fetch":
            taken = f"{out['files']} files, {format_bytes(out['bytes'])}"
            return taken + (f" ({format_bytes(out['left_bytes'])} left behind)" if out["left_files"] else "")
        case "load":
            return f"{out['architecture']}, {out['parameters']:,} parameters"
        case "render":
            return str(out["bento"])
        case "archive":
            return f"{format_bytes(out['archive_bytes'])}, sha256:{out['archive_digest'][:12]}…"
        case "build":
            return f"{out['image']}{'' if out['image_digest'] else ' (planned)'}"
        case "cloudbuild":
            return f"{out['image']}, by build {out['build']}"
        case "smoke":
            return f"answers as the model does, {out['latency_ms']} ms, {format_bytes(out['rss_bytes'])}"
    return ""


def print_failure(failure: Failure, console: Console, *, node: str = "") -> None:
    """A failure as a person reads it: where, why, and what to do."""
    where = f" in {escape(node)}" if node else ""
    console.print(f"[bold red]error[/bold red]{where}: [bold]{failure.reason}[/bold]", soft_wrap=True)
    console.print(f"  {escape(failure.message)}", soft_wrap=True)
    if failure.hint:
        console.print(f"  [dim]hint:[/dim] {escape(failure.hint)}", soft_wrap=True)
    if failure.retryable and failure.reason not in (Reason.INTERRUPTED, Reason.TERMINATED):
        console.print("  This may pass: the same command goes on where it stopped.", soft_wrap=True)
