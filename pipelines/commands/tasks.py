"""``slipway tasks``: the tasks that can be served."""

from __future__ import annotations

import sys

from rich.table import Table

from pipelines.display.console import open_console
from steps.core.errors import ExitCode
from steps.tasks.table import TASKS


def tasks() -> int:
    """List the tasks that can be served.

    These are the names that a Model lists under ``services``, with their other names and what a service of the task returns.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("task", "other names", "what it returns"):
        table.add_column(heading)
    for task in TASKS.values():
        table.add_row(task.name, ", ".join(task.aliases), task.title)
    open_console(sys.stdout).print(table)
    return ExitCode.DONE
