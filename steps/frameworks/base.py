"""The libraries that models are made with: one ``ModelLoader`` for each ``framework``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from steps.core.documents import ModelFacts
from steps.core.lock import Lock
from steps.core.progress import Progress
from steps.tasks.base import Task


class Framework(StrEnum):
    """The values of ``framework``."""

    TRANSFORMERS = "transformers"


class ModelLoader(ABC):
    """Loads a checked model once and finds out what a Bento of it must know."""

    @abstractmethod
    def prepare_bento_model(self, lock: Lock, folder: Path, tasks: Sequence[Task], progress: Progress) -> ModelFacts:
        """Load the model in ``folder`` (verified against ``lock``) for each task and ask it the task's golden request.

        Raises ``TaskMismatch``, ``InvalidConfig``, ``LoadFailed`` or ``OutOfMemory``.
        """


def open_loader(framework: Framework) -> ModelLoader:
    """The loader of this framework; the framework itself is imported when it loads."""
    match framework:
        case Framework.TRANSFORMERS:
            from steps.frameworks.transformers import TransformersLoader

            return TransformersLoader()
