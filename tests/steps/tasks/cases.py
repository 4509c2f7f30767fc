"""The type of a task's test case: a tiny model of a fitting architecture, and what the library itself answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps.frameworks.golden_answer import GOLDEN_FILES
from steps.tasks.base import Task
from steps.tasks.table import TASKS


@dataclass(frozen=True)
class Bad:
    """Changes to the golden request, and the field that the refusal must name. A change to ``...`` leaves the field out."""

    field: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """What the tests of all tasks need of one task.

    Attributes:
        task: The task's name.
        make: Saves a model into an empty folder, as ``save_pretrained`` does, from a fixed seed.
        library: Passes the golden request to the model in the folder by transformers' own means, and returns the answer
            as the service's clients get it.
        bad: Requests that the service must refuse.
        batch_fields: Fields that differ from the golden request's in one request of the batch test.
    """

    task: str
    make: Callable[[Path], object]
    library: Callable[[Path], dict[str, Any]]
    bad: tuple[Bad, ...] = ()
    batch_fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def entry(self) -> Task:
        """The task's entry in the table."""
        return TASKS[self.task]


def golden(task: str) -> dict[str, Any]:
    """Return a task's golden request: its fields, and its files' bytes."""
    request = TASKS[task].golden
    return {**request.fields, **{name: (GOLDEN_FILES / path).read_bytes() for name, path in request.files.items()}}


def ask(module: Any, folder: Path, task: str, **changes: Any) -> dict[str, Any]:
    """The answer of a task's own module to its golden request, with some fields changed."""
    runner = module.Runner(folder)
    answer: dict[str, Any] = runner.predict(module.Request(**{**golden(task), **changes})).model_dump(mode="json")
    return answer
