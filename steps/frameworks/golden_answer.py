"""The model's own answer to a task's golden request, which the smoke step later expects of the packaged service.

The model is opened by the module that will serve it (``steps.serving.tasks``), so the answer goes through the schema that
clients will see.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from pydantic import BaseModel

from steps.core.documents import GoldenAnswer
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.os_errors import explain_os_error
from steps.core.progress import Progress
from steps.frameworks.loaded_weights import LoadedWeights, check_answer
from steps.serving.walls.audit_hook import refused_path
from steps.tasks.base import Task

GOLDEN_FILES = Path(__file__).parent.parent / "tasks"  # what the paths of golden requests are relative to
MAX_ERROR = 600  # characters of a library's error
# What libraries say when memory is refused to them: torch, C++, the system.
_NO_MEMORY = re.compile(r"can't allocate memory|Cannot allocate memory|not enough memory|bad_alloc|memory allocation of")
# Of an OSError while a model is loaded: what is this machine's fault, and not the model's.
MACHINE_REASONS = {Reason.DISK_FULL, Reason.OUT_OF_MEMORY, Reason.SYSTEM_REFUSED, Reason.SYSTEM_BUSY}


class _Runner(Protocol):
    def predict(self, request: BaseModel) -> BaseModel: ...


class _ServingModule(Protocol):
    """What every module of ``steps.serving.tasks`` has."""

    Request: type[BaseModel]
    Runner: Callable[[Path], _Runner]


def golden_answer(
    task: Task, folder: Path, progress: Progress, *, size: int = 0, library: str = "transformers"
) -> GoldenAnswer:
    """Load the model for a task, check that it is whole, and ask it the task's golden request.

    Args:
        task: The task.
        folder: The model's files.
        progress: Gets a note before the model is loaded.
        size: Bytes of tensors in the weight files.
        library: What loads the model, for messages.

    Returns:
        The answer as JSON, and the seconds that the model needed for it.

    Raises:
        SlipwayError: ``LoadFailed`` where the library cannot load the model, or the model does not answer, or with no numbers;
            ``InvalidWeights`` and ``InvalidConfig`` for a model that is not whole; ``OutOfMemory``.
    """
    progress.note(f"Loading the model for {task.name}.")
    module = cast(_ServingModule, importlib.import_module(f"steps.serving.tasks.{task.module}"))
    files = {name: (GOLDEN_FILES / path).read_bytes() for name, path in task.golden.files.items()}
    request = module.Request.model_validate({**files, **task.golden.fields})
    weights = LoadedWeights(task.name, size)
    try:
        with weights.watch():
            runner = module.Runner(folder)
        weights.check()
        begin = time.monotonic()
        with weights.watch_answer():
            answer = runner.predict(request)
        seconds = time.monotonic() - begin
        weights.check_use(answer, lambda: runner.predict(request))
    except SlipwayError:
        raise
    except Exception as error:  # whatever a library raises on a model it cannot load is the model's failure, not a bug here
        if weights.refusal is not None and not weights.opened:
            raise weights.refusal from error
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            raise SlipwayError(Reason.OUT_OF_MEMORY, f"There is not enough memory to load the model for {task.name}.") from None
        if path := refused_path(error):
            raise SlipwayError(
                Reason.LOAD_FAILED,
                f"{library} tried to open {path[:MAX_ERROR]!r}, which is no file of this model: it cannot run {task.name}.",
                hint="Put the file into the model's folder, and remove the path from its configuration.",
            ) from error
        if isinstance(error, ImportError):
            raise _package_missing(error, task.name, library) from error
        known = explain_os_error(error) if isinstance(error, OSError) else None
        if isinstance(error, OSError) and known and not known.place and known.reason in MACHINE_REASONS:
            raise from_os_error(error, f"{library} cannot load the model for {task.name}") from error
        message = " ".join(str(error).split())[:MAX_ERROR]
        raise SlipwayError(
            Reason.LOAD_FAILED, f"{library} cannot run {task.name} on this model: {type(error).__name__}: {message}"
        ) from error
    check_answer(task.name, answer.model_dump())
    return GoldenAnswer(task=task.name, golden=task.golden, answer=answer.model_dump(mode="json"), seconds=round(seconds, 4))


def _package_missing(error: ImportError, task: str, library: str) -> SlipwayError:
    """The error for a package that the library wants; its advice on how to install it is about another environment."""
    sentences = re.split(r"(?<=[.!?:])\s+", " ".join(str(error).split()))
    kept = [each for each in sentences if not re.search(r"\b(pip|conda|apt|brew|install\w*|restart)\b", each, re.IGNORECASE)]
    return SlipwayError(
        Reason.LOAD_FAILED,
        f"{library} needs a package for {task} on this model that no service of Slipway has: "
        f"{' '.join(kept)[:MAX_ERROR] or error.name or 'an unnamed one'}",
        hint="Installing it here does not help, since the packaged service would not have it: use another model, or save "
        "this one with a fast tokenizer or a processor that needs no such package.",
    )
