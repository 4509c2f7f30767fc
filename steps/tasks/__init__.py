"""The task table: what Slipway can serve, one entry a task, one module a family.

An entry says by which names a task is known, which architectures fit, which module of ``steps.serving`` answers, what the
golden request is and which packages the service needs. Nothing heavy is imported here: the command line, the CRD and the
check before a download all read this table.
"""

from __future__ import annotations

import difflib

from steps.errors import Reason, SlipwayError
from steps.tasks import image, text
from steps.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (*image.TASKS, *text.TASKS)}
ALIASES: dict[str, str] = {alias: task.name for task in TASKS.values() for alias in task.aliases}


def resolve(name: str) -> Task:
    """The entry for a task's name or alias, as transformers writes them. Raises ``UnknownTask``, saying which is near."""
    canonical = ALIASES.get(name, name)
    if canonical in TASKS:
        return TASKS[canonical]
    known = [*TASKS, *ALIASES]
    near = difflib.get_close_matches(name.lower().replace("_", "-").replace(" ", "-"), known, n=1, cutoff=0.5)
    raise SlipwayError(
        Reason.UNKNOWN_TASK,
        f"There is no task {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""),
        hint=f"Slipway serves: {', '.join(TASKS)}.",
    )


def check_fit(task: Task, architectures: tuple[str, ...], files: frozenset[str]) -> None:
    """Raise ``TaskMismatch`` unless a model of these classes and with these files can do the task; names those it can."""
    why = task.misfit(architectures, files)
    if why is None:
        return
    fitting = [other.name for other in TASKS.values() if other.misfit(architectures, files) is None]
    raise SlipwayError(
        Reason.TASK_MISMATCH,
        f"The model cannot do {task.name}: {why}.",
        hint=f"It can do: {', '.join(fitting)}." if fitting else "None of Slipway's tasks fits this model.",
    )
