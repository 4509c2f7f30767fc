"""A run as plain lines, for logs: one line for each thing that happens."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TextIO

from pipelines.cluster.steps import State, StepState
from pipelines.cluster.watch import RunView
from pipelines.display.console import MARKS, STATE_TEXTS, STEP_STYLES
from pipelines.local import NodeState, Observer
from steps.core.progress import PlainProgress, Progress
from steps.core.receipts import Receipt
from steps.core.text import format_seconds


def resume_note(nodes: Sequence[str], before: Sequence[Receipt]) -> str:
    """What to print when an earlier run of the same Model was stopped or failed; empty for a first or a complete one.

    Args:
        nodes: The nodes of the run, in order.
        before: What earlier runs left for them.
    """
    states = {receipt.node: receipt for receipt in before}
    done = [*itertools.takewhile(lambda node: node in states and states[node].failure is None, nodes)]
    if not states or len(done) == len(nodes):
        return ""
    stopped = nodes[len(done)]
    reason = states[stopped].failure if stopped in states else None
    at = f"in {stopped} ({reason.reason})" if reason else f"before {stopped}"
    return f"Going on where the last run stopped, {at}. Done so far: {', '.join(done) or 'nothing'}."


def remark(step: StepState) -> str:
    """What a person should know of a step besides its state: the number of its tries, the reason of its failure."""
    return ", ".join([*([f"try {step.tries}"] if step.tries > 1 else []), *([step.failure.reason] if step.failure else [])])


class PlainDisplay(Observer):
    """A run on this machine: one line for each node that ends, and its notes before that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started: dict[str, float] = {}

    def begin(self, run: str, nodes: tuple[str, ...], before: list[Receipt]) -> None:
        """Print where the run goes on."""
        if line := resume_note(nodes, before):
            print(line, file=self._stream, flush=True)

    def progress(self, node: str) -> Progress:
        """Notes and meters of a node as lines with its name in front."""
        return PlainProgress(self._stream, f"  {node}: ")

    def changed(self, node: str, state: NodeState) -> None:
        """Print how a node ended, and after how long."""
        if state == "running":
            self._started[node] = time.monotonic()
            return
        seconds = time.monotonic() - self._started[node]
        print(f"{MARKS[state]} {node}: {STATE_TEXTS[state]} ({format_seconds(seconds)})", file=self._stream, flush=True)


class PlainView(RunView):
    """A run in the cluster: one line for each step that starts, fails or ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._printed: dict[str, tuple[State, int]] = {}

    def show_step(self, step: StepState) -> None:
        """Print the step where its state or its number of tries has changed."""
        now = (step.state, step.tries)
        silent = step.state is State.WAITING or (step.state is State.STARTING and not step.failure)
        if silent or self._printed.get(step.name) == now:
            return
        self._printed[step.name] = now
        seconds = step.seconds(datetime.now(UTC)) if step.finished else None
        duration = f" ({format_seconds(seconds)})" if seconds is not None else ""
        more = f": {remark(step)}" if remark(step) else ""
        self.note(f"{STEP_STYLES[step.state][0]} {step.name}: {step.state}{duration}{more}")

    def note(self, text: str) -> None:
        """Print a sentence."""
        print(text, file=self._stream, flush=True)
