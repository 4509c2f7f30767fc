"""The task table: the one place that lists every task, and the questions that other modules ask of it.

A new task is an entry in one of ``MODULES``; a new module of entries is added to ``MODULES``. The order is that of
``slipway tasks``, docs/tasks.md and the CRD's enum.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from steps.core.errors import Reason, SlipwayError
from steps.tasks import audio, detection, generation, image, multimodal, tabular, text, video
from steps.tasks.base import NO_CONTENTS, Task

# Written in place of task names: the tasks that the model was made for.
AUTO = "auto"
AUTO_ALONE = "write auto alone: it stands for all tasks that the model was trained for"
SAVE_THEM = (
    "Save the tokenizer or processor beside the model: `AutoTokenizer.from_pretrained(…).save_pretrained(folder)` "
    "or `AutoProcessor.from_pretrained(…).save_pretrained(folder)`."
)
MAX_SERVICES = 8
MODULES = (text, generation, tabular, image, detection, audio, video, multimodal)
TASKS: dict[str, Task] = {task.name: task for module in MODULES for task in module.TASKS}
ALIASES: dict[str, str] = {alias: task.name for task in TASKS.values() for alias in task.aliases}


def resolve(name: str) -> Task:
    """Return the entry for a task's name or alias.

    Raises:
        SlipwayError: ``UnknownTask``, with the most similar name.
    """
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


def matching_tasks(
    config: Mapping[str, object], files: frozenset[str], contents: Mapping[str, bytes] = NO_CONTENTS
) -> list[Task]:
    """Return the tasks that a model can do; the arguments are those of ``Task.mismatch``."""
    return [task for task in TASKS.values() if task.mismatch(config, files, contents) is None]


def tasks_for_auto(
    config: Mapping[str, object], files: frozenset[str], contents: Mapping[str, bytes] = NO_CONTENTS
) -> list[Task]:
    """Return the tasks that ``auto`` means for a model; the arguments are those of ``Task.mismatch``.

    Only tasks with ``auto`` are candidates. Those that use the model's head are preferred; the others are taken if there
    are none. At most ``MAX_SERVICES`` are returned.
    """
    candidates = [task for task in matching_tasks(config, files, contents) if task.auto]
    return ([task for task in candidates if not task.any_head] or candidates)[:MAX_SERVICES]


def check_task(
    task: Task, config: Mapping[str, object], files: frozenset[str], contents: Mapping[str, bytes] = NO_CONTENTS
) -> None:
    """Check that a model can do a task; the other arguments are those of ``Task.mismatch``.

    Raises:
        SlipwayError: ``TaskMismatch``, with the reason and the tasks that the model can do.
    """
    why = task.mismatch(config, files, contents)
    if why is None:
        return
    lacking = next((component for component in task.components if not component.files & files), None)
    if lacking and "none of the files" in why:
        # With these files the model could do it: whoever saved it has left them out.
        complete = files | frozenset().union(*(component.files for component in task.components))
        if task.mismatch(config, complete, contents) is None:
            raise SlipwayError(Reason.TASK_MISMATCH, f"The model cannot do {task.name}: {why}.", hint=SAVE_THEM)
    others = [other.name for other in matching_tasks(config, files, contents)]
    raise SlipwayError(
        Reason.TASK_MISMATCH,
        f"The model cannot do {task.name}: {why}.",
        hint=f"It can do: {', '.join(others)}." if others else "None of Slipway's tasks fits this model.",
    )
