"""A run live in a terminal: bars for a run on this machine, a table that is redrawn for a run in the cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from pipelines.cluster.runs import ModelRun
from pipelines.cluster.watch import RunView
from pipelines.display.console import MARKS, STATE_TEXTS
from pipelines.display.lines import resume_note
from pipelines.display.tables import steps_table
from pipelines.local import NodeState, Observer
from steps.core.progress import Progress, ProgressEvent, meter_line
from steps.core.receipts import Receipt
from steps.core.text import format_seconds

COLOURS: Mapping[str, str] = {"done": "green", "skipped": "cyan", "failed": "red"}


class LiveDisplay(Observer):
    """One live line for the node that runs, with bytes, rate and time left; nodes that ended scroll up as lines."""

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
        self._started: dict[str, float] = {}

    def begin(self, run: str, nodes: tuple[str, ...], before: list[Receipt]) -> None:
        """Print the name of the run, and where it goes on."""
        self._console.print(f"[bold]{escape(run)}[/bold]")
        if line := resume_note(nodes, before):
            self._console.print(escape(line), style="yellow")

    def progress(self, node: str) -> Progress:
        """Meters of a node as the live line, its notes as lines above."""
        return _BarProgress(self._bars)

    def changed(self, node: str, state: NodeState) -> None:
        """Begin the live line of a node, or replace it by a line that stays."""
        if state == "running":
            self._started[node] = time.monotonic()
            self._bars.add_task(escape(node.rpartition("/")[2]), total=None, state="")
            self._bars.start()
            return
        self._bars.stop()
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        colour = COLOURS[state]
        seconds = format_seconds(time.monotonic() - self._started[node])
        self._console.print(f"[{colour}]{MARKS[state]}[/{colour}] {escape(node)} [dim]{STATE_TEXTS[state]}, {seconds}[/dim]")


class _BarProgress(Progress):
    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._started: dict[str, float] = {}

    def emit(self, event: ProgressEvent) -> None:
        if event.kind == "note":
            self._bars.console.print(f"  [dim]{escape(event.text)}[/dim]")
            return
        now = time.monotonic()
        started = self._started.setdefault(event.text, now)
        state = meter_line(event, now - started).removeprefix(f"{event.text}: ")
        for task in self._bars.task_ids:
            self._bars.update(task, description=escape(event.text), completed=event.done, total=event.total, state=state)


class LiveView(RunView):
    """The table of ``slipway status``, redrawn while the run goes on."""

    def __init__(self, console: Console) -> None:
        self._run: ModelRun | None = None
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the table from the terminal."""
        self._live.stop()

    def show(self, run: ModelRun) -> None:
        """Show this state of the run from now on."""
        self._run = run

    def note(self, text: str) -> None:
        """Print a sentence above the table."""
        self._live.console.print(escape(text), style="dim")

    def _table(self) -> Table:
        return steps_table(self._run.steps if self._run else (), datetime.now(UTC))
