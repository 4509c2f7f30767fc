"""The model's own answer to a task's golden request, which the smoke step later expects of the packaged service.

The model is opened by the module that will serve it (``steps.serving.tasks``), so the answer goes through the schema that
clients will see.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from pydantic import BaseModel

from steps.core.documents import GoldenAnswer
from steps.core.errors import Reason, SlipwayError
from steps.core.progress import Progress
from steps.tasks.base import Task

GOLDEN_FILES = Path(__file__).parent.parent / "tasks"  # what the paths of golden requests are relative to
MAX_ERROR = 600  # characters of a library's error


class _Runner(Protocol):
    def predict(self, request: BaseModel) -> BaseModel: ...


class _ServingModule(Protocol):
    """What every module of ``steps.serving.tasks`` has."""

    Request: type[BaseModel]
    Runner: Callable[[Path], _Runner]


def golden_answer(task: Task, folder: Path, progress: Progress, *, library: str = "transformers") -> GoldenAnswer:
    """Load the model for a task and ask it the task's golden request.

    Args:
        task: The task.
        folder: The model's files.
        progress: Gets a note before the model is loaded.
        library: What loads the model, for messages.

    Returns:
        The answer as JSON, and the seconds that the model needed for it.

    Raises:
        SlipwayError: ``LoadFailed`` where the library cannot load the model, or the model does not answer, ``OutOfMemory``.
    """
    progress.note(f"Loading the model for {task.name}.")
    module = cast(_ServingModule, importlib.import_module(f"steps.serving.tasks.{task.module}"))
    files = {name: (GOLDEN_FILES / path).read_bytes() for name, path in task.golden.files.items()}
    request = module.Request.model_validate({**files, **task.golden.fields})
    try:
        runner = module.Runner(folder)
        begin = time.monotonic()
        answer = runner.predict(request)
        seconds = time.monotonic() - begin
    except MemoryError:
        raise SlipwayError(Reason.OUT_OF_MEMORY, f"There is not enough memory to load the model for {task.name}.") from None
    except Exception as error:  # whatever a library raises on a model it cannot load is the model's failure, not a bug here
        message = " ".join(str(error).split())[:MAX_ERROR]
        raise SlipwayError(
            Reason.LOAD_FAILED, f"{library} cannot run {task.name} on this model: {type(error).__name__}: {message}"
        ) from error
    return GoldenAnswer(task=task.name, golden=task.golden, answer=answer.model_dump(mode="json"), seconds=round(seconds, 4))
