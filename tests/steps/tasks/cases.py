"""What the tests know of a task: a tiny model of a fitting architecture, and what the library itself answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps.frameworks.transformers import GOLDEN_FILES
from steps.tasks.base import Task
from steps.tasks.table import TASKS


@dataclass(frozen=True)
class Bad:
    """Changes to the golden request, and the field that the refusal must name. A change to ``...`` leaves the field out."""

    field: str
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """``make`` saves a model into an empty folder, as ``save_pretrained`` does, from a fixed seed. ``library`` asks the model
    in the folder the golden request by the library's own means, and puts the answer into the schema that clients see.
    """

    task: str
    make: Callable[[Path], object]
    library: Callable[[Path], dict[str, Any]]
    bad: tuple[Bad, ...] = field(default=())

    @property
    def entry(self) -> Task:
        return TASKS[self.task]


def golden(task: str) -> dict[str, Any]:
    """A task's golden request: its fields, and its files' bytes."""
    request = TASKS[task].golden
    return {**request.fields, **{name: (GOLDEN_FILES / path).read_bytes() for name, path in request.files.items()}}
