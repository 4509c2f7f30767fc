"""The task table: what Slipway can serve, one entry a task, one module a family.

An entry says by which names a task is known, which architectures fit, which module of ``steps.serving`` answers, what the
golden request is and which packages the service needs. Nothing heavy is imported here: the command line, the CRD and the
check before a download all read this table.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from steps.core.errors import Reason, SlipwayError
from steps.tasks import audio, detection, generation, image, multimodal, text, video
from steps.tasks import tabular as table
from steps.tasks.base import NO_TEXTS, Task

# In place of tasks: those that the model itself is made for.
AUTO = "auto"
MAX_SERVICES = 8
MODULES = (text, generation, table, image, detection, audio, video, multimodal)
TASKS: dict[str, Task] = {task.name: task for module in MODULES for task in module.TASKS}
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


def fitting(config: Mapping[str, Any], files: frozenset[str], texts: Mapping[str, bytes] = NO_TEXTS) -> list[Task]:
    """The tasks that a model with this ``config.json`` and these top-level files can do; ``texts`` as in ``Task.misfit``."""
    return [task for task in TASKS.values() if task.misfit(config, files, texts) is None]


def choose(config: Mapping[str, Any], files: frozenset[str], texts: Mapping[str, bytes] = NO_TEXTS) -> list[Task]:
    """What ``auto`` means for a model: the tasks that its head was made for, or, where it has none, those that use no head."""
    found = fitting(config, files, texts)
    return ([task for task in found if not task.any_head] or found)[:MAX_SERVICES]


def check_fit(task: Task, config: Mapping[str, Any], files: frozenset[str], texts: Mapping[str, bytes] = NO_TEXTS) -> None:
    """Raise ``TaskMismatch`` unless a model with this ``config.json`` and these files can do the task; names those it can."""
    why = task.misfit(config, files, texts)
    if why is None:
        return
    others = [other.name for other in fitting(config, files, texts)]
    raise SlipwayError(
        Reason.TASK_MISMATCH,
        f"The model cannot do {task.name}: {why}.",
        hint=f"It can do: {', '.join(others)}." if others else "None of Slipway's tasks fits this model.",
    )
