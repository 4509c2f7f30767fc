"""The console that results are printed on, and the marks that stand for the state of a step."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from rich.console import Console

from pipelines.cluster.steps import State

# Of a node on this machine.
MARKS: Mapping[str, str] = {"running": "…", "done": "✓", "skipped": "=", "failed": "✗"}
STATE_TEXTS: Mapping[str, str] = {"done": "done", "skipped": "done before, checked", "failed": "failed"}
# Of a step in the cluster: mark and colour.
STEP_STYLES: Mapping[State, tuple[str, str]] = {
    State.WAITING: ("·", "dim"),
    State.STARTING: ("…", "dim"),
    State.RUNNING: ("…", "cyan"),
    State.RETRYING: ("↻", "yellow"),
    State.DONE: ("✓", "green"),
    State.FAILED: ("✗", "red"),
    State.NOT_REACHED: ("·", "dim"),
}
LOG_WIDTH = 120  # columns: enough for the table at the end of a run


def open_console(stream: TextIO) -> Console:
    """A console for results; where nothing says how wide it is (a pipe, a log), it is ``LOG_WIDTH`` wide."""
    return Console(file=stream, highlight=False, width=None if stream.isatty() else LOG_WIDTH)


def program() -> str:
    """How ``slipway`` is called from here: by its name where that is found, else by its path."""
    path = Path(sys.executable).with_name("slipway")
    if shutil.which("slipway") or not path.exists():
        return "slipway"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
