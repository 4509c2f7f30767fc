"""Choose the display that fits where the output goes: JSON lines, live bars in a terminal, or plain lines in a log."""

from __future__ import annotations

import sys

from rich.console import Console

from pipelines.cluster.watch import RunView
from pipelines.display.bars import LiveDisplay, LiveView
from pipelines.display.json_lines import JsonDisplay, JsonView
from pipelines.display.lines import PlainDisplay, PlainView
from pipelines.local import Observer


def open_display(*, as_json: bool) -> Observer:
    """The display of a run on this machine."""
    if as_json:
        return JsonDisplay(sys.stdout)
    if sys.stderr.isatty():
        return LiveDisplay()
    return PlainDisplay(sys.stderr)


def open_view(*, as_json: bool) -> RunView:
    """The display of a run in the cluster."""
    if as_json:
        return JsonView(sys.stdout)
    if sys.stderr.isatty():
        return LiveView(Console(stderr=True, highlight=False))
    return PlainView(sys.stderr)
