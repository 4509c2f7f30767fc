"""The interface of a framework: what the load step does with a model of one library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from steps.core.documents import ModelFacts
from steps.core.lock import Lock
from steps.core.progress import Progress
from steps.tasks.base import Task


class ModelLoader(ABC):
    """Loads a model once and finds out what a Bento of it must know. Making one imports nothing of the library.

    Attributes:
        name: The value of ``framework`` in a Model, and the flag's.
    """

    name: ClassVar[str]

    @abstractmethod
    def prepare_bento_model(self, lock: Lock, folder: Path, tasks: Sequence[Task], progress: Progress) -> ModelFacts:
        """Load a model for each task, and record its answer to the task's golden request.

        Args:
            lock: The model's files.
            folder: Holds exactly these files, verified.
            tasks: What the model is to be served for.
            progress: Gets a note before each part that takes seconds.

        Returns:
            The facts, with one golden answer for each task.

        Raises:
            SlipwayError: ``TaskMismatch``, ``InvalidConfig``, ``LoadFailed``, ``OutOfMemory`` or ``MissingDependency``.
        """
