"""Watching a run in the cluster until it ends: a live table in a terminal, a line for each change in a log, or JSON lines.

The objects are asked for again every second. That outlives a restart of the API server, and a second is short beside a pod.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from crd.kubernetes_client import KubernetesClient
from pipelines.cluster.runs import Phase, Run, find_run
from pipelines.cluster.steps import State, StepState
from pipelines.commands.status import LOOKS, describe, print_run, remark, steps_table
from pipelines.display.run import open_console
from steps.core.clock import Clock, SystemClock
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.text import format_seconds

POLL = 1.0  # seconds
PATIENCE = 60  # times in a row that the cluster may fail to answer
START_SECONDS = 120  # by then the sensor or, where it failed, the operator has made the Workflow
SETTLE_SECONDS = 60  # by then the operator has written what became of it


class View:
    """What is shown of a run; the base shows nothing."""

    def __enter__(self) -> View:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the terminal as it was."""

    def show(self, run: Run) -> None:
        """Show what changed."""
        for step in run.steps:
            self.step(step)

    def step(self, step: StepState) -> None:
        """Show one step."""

    def note(self, text: str) -> None:
        """Say a sentence."""


class PlainView(View):
    """One line for each step that begins, fails or ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: dict[str, tuple[State, int]] = {}

    def step(self, step: StepState) -> None:
        told = (step.state, step.tries)
        silent = step.state is State.WAITING or (step.state is State.STARTING and not step.failure)
        if silent or self._told.get(step.name) == told:
            return
        self._told[step.name] = told
        seconds = step.seconds(datetime.now(UTC)) if step.finished else None
        time = f" ({format_seconds(seconds)})" if seconds is not None else ""
        said = f": {remark(step)}" if remark(step) else ""
        self.note(f"{LOOKS[step.state][0]} {step.name}: {step.state}{time}{said}")

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class JsonView(View):
    """``{"event": "node", "node", "state"}`` for each change, and at the end a ``result`` as ``status --json`` has it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: dict[str, State] = {}

    def show(self, run: Run) -> None:
        super().show(run)
        if run.phase in (Phase.SUCCEEDED, Phase.FAILED):
            self._say("result", **describe(run, datetime.now(UTC)))

    def step(self, step: StepState) -> None:
        if self._told.get(step.name, State.WAITING) != step.state:
            self._told[step.name] = step.state
            self._say("node", node=step.name, state=step.state)

    def note(self, text: str) -> None:
        self._say("note", text=text)

    def _say(self, event: str, **values: object) -> None:
        print(json.dumps({"event": event, **values}), file=self._stream, flush=True)


class LiveView(View):
    """The table of ``slipway status``, drawn anew while the run goes on."""

    def __init__(self, console: Console) -> None:
        self._run: Run | None = None
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=True)

    def __enter__(self) -> View:
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def show(self, run: Run) -> None:
        self._run = run

    def note(self, text: str) -> None:
        self._live.console.print(escape(text), style="dim")

    def _table(self) -> Table:
        return steps_table(self._run.steps if self._run else (), datetime.now(UTC))


def open_view(*, as_json: bool) -> View:
    """The view that fits where the output goes: progress to standard error, JSON to standard output."""
    if as_json:
        return JsonView(sys.stdout)
    if sys.stderr.isatty():
        return LiveView(Console(stderr=True, highlight=False))
    return PlainView(sys.stderr)


def follow(cluster: KubernetesClient, name: str, *, as_json: bool) -> int:
    """Watch the run of a Model or a Workflow and say what came of it; returns the exit code of the step that failed, or 0."""
    run = attend(cluster, name, open_view(as_json=as_json))
    if not as_json:
        print_run(run, open_console(sys.stdout), datetime.now(UTC))
    return run.failure[1].reason.exit_code if run.failure else ExitCode.DONE


def attend(cluster: KubernetesClient, name: str, view: View) -> Run:
    """Show the run of a Model or a Workflow until it ends; Ctrl-C leaves the run alone, and the terminal in order."""
    try:
        with view:
            return watch(lambda: find_run(cluster, name), view, SystemClock())
    except KeyboardInterrupt:
        raise SlipwayError(
            Reason.INTERRUPTED,
            "Stopped watching; the run goes on in the cluster.",
            hint=f"slipway status -n {cluster.namespace} {name}",
        ) from None


def watch(look: Callable[[], Run], view: View, clock: Clock) -> Run:
    """Ask ``look`` for the run and show it until it has ended; returns it as it is then.

    Raises ``MissingDependency`` when no Workflow is made for it, and what ``look`` or the view raises if that does not pass.
    """
    begun, lost, settling = clock.monotonic(), 0, 0.0
    while True:
        try:
            run = look()
            if run.phase is Phase.SETTLING and (settling := settling or clock.monotonic()) + SETTLE_SECONDS < clock.monotonic():
                view.note("The Model's status does not follow its Workflow: is the operator running? See `slipway doctor`.")
                run = dataclasses.replace(run, model=None)
            view.show(run)
            lost = 0
        except SlipwayError as error:
            lost += 1
            if not error.reason.retryable or lost > PATIENCE:
                raise
            if lost == 1:
                view.note(f"{error.message} Asking again …")
            clock.sleep(POLL)
            continue
        if run.phase in (Phase.SUCCEEDED, Phase.FAILED):
            return run
        if run.phase is Phase.WAITING and begun + START_SECONDS < clock.monotonic():
            raise SlipwayError(
                Reason.MISSING_DEPENDENCY,
                f"No Workflow was started for {run.name} within {START_SECONDS} seconds.",
                hint="`slipway doctor` says what is not running: sensor, event source, operator.",
            )
        clock.sleep(POLL)
