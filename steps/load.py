"""The step load: open the model once, without a network, and record what it is and what it answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from steps.command.main import main
from steps.command.process import end_now
from steps.core.budget import Budget, TimeIsUpError, enforced, free_memory
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock, verify_folder
from steps.core.settings import Settings, read_settings, variable
from steps.core.store import StoreKey
from steps.core.text import format_bytes
from steps.frameworks.supported import DEFAULT_FRAMEWORK, Framework, open_loader
from steps.gate.admit import admit_together
from steps.gate.named_files import is_settings
from steps.gate.weights import Header, read_header
from steps.serving.walls.raised import open_model_behind_walls
from steps.tasks.table import resolve

# What opening a model may take at most, generously: the libraries and a forward pass, and copies of the weights in 32 bits,
# because a model is converted while it is read.
MEMORY, COPIES = 8 << 30, 3
SECONDS, BYTES_PER_SECOND = 600, 4_000_000  # for one task, on a slow machine


class LoadInputs(Inputs):
    """Which model to load, and for which tasks."""

    lock: StoreKey = Field(description="store key of the lock that fetch wrote")
    services: tuple[str, ...] = Field(description="tasks to load the model for", min_length=1)
    framework: Framework = Field(DEFAULT_FRAMEWORK, description="library that opens the model")


class LoadOutputs(Outputs):
    """What was found out about the model."""

    facts: str = Field(description="store key of the facts about the model, with its golden answer for each task")
    architecture: str = Field(description="class name from config.json")
    parameters: int = Field(description="number of parameters in the weights")


def run(inputs: LoadInputs, context: Context) -> LoadOutputs:
    """Load the model offline for each task, send it the task's golden request, and record its answers.

    Reads the lock and the files that it lists, each checked against the lock after it was copied. Needs the extra ``ml``, no
    network and no credentials except those of the store. Code from the model's repository is never imported. Memory and time
    are limited, by the settings ``load_memory`` and ``load_timeout`` or in proportion to the weights.

    Publishes the facts (architecture, parameters, licence, versions, golden answers) under ``facts/``.

    Repeating: with the same lock, tasks and framework, the receipt is found and the model is not loaded again.

    Raises:
        SlipwayError: ``UnknownTask`` and ``InvalidInput`` for wrong inputs; ``StoreUnreadable`` without the lock or its
            files; ``DigestMismatch``, ``LockMismatch`` and ``UnsafePath`` for files that changed; ``InvalidConfig``,
            ``InvalidWeights`` and ``RemoteCode`` for files that are refused; ``TaskMismatch`` for a task that the model
            cannot do; ``LoadFailed`` when the library cannot open the model, or does not answer in time or with numbers;
            ``OutOfMemory``; ``DiskFull``; ``MissingDependency`` without a library that the model needs.
    """
    tasks = [resolve(name) for name in inputs.services]
    lock = context.read_document(inputs.lock, Lock)
    with context.private_folder() as scratch:
        folder = copy_model(lock, scratch / "model", context)
        settings = [file.path for file in lock.files if is_settings(file.path)]
        admit_together([file.path for file in lock.files], {path: (folder / path).read_bytes() for path in settings})
        headers = [read_header(folder / file.path, file.path) for file in lock.weights]
        loader = open_loader(inputs.framework)
        with within(budget(headers, len(tasks), read_settings(), free_memory())):
            facts, walls = open_model_behind_walls(
                lambda: loader.prepare_bento_model(lock, folder, tasks, context.progress), folder, scratch / "tmp"
            )
        facts = facts.model_copy(update={"walls": walls.names()})
    return LoadOutputs(
        facts=context.publish_document("facts", facts), architecture=facts.architecture, parameters=facts.parameters
    )


def copy_model(lock: Lock, folder: Path, context: Context) -> Path:
    """Copy the lock's files into a folder, and check each against the lock; returns the folder."""
    for file in lock.files:
        context.store.copy_to(file.key, folder / file.path)
    verify_folder(lock, folder)
    return folder


def budget(headers: list[Header], tasks: int, settings: Settings, free: int) -> Budget:
    """What loading may use: as the settings say, or in proportion to the weights.

    Args:
        headers: Of all weight files.
        tasks: For how many tasks the model is loaded.
        settings: The installation's.
        free: Bytes of memory that this machine can give. Weights are mapped from their files as well, which needs none of it.
    """
    size = sum(header.size for header in headers)
    elements = sum(sum(header.elements.values()) for header in headers)
    computed = min(MEMORY + COPIES * max(size, 4 * elements), free + size)
    seconds = settings.load_timeout or SECONDS + size // BYTES_PER_SECOND
    return Budget(settings.load_memory << 20 or computed, seconds * tasks)


@contextlib.contextmanager
def within(limits: Budget) -> Iterator[None]:
    """Hold the loading of a model to a budget, and say which setting changes it where it does not suffice."""
    slow = SlipwayError(
        Reason.LOAD_FAILED,
        f"The model was not loaded, and its golden requests not answered, within {limits.seconds:.0f} seconds.",
        hint=f"If the machine is slow, set {variable('load_timeout')} to more seconds for each task. If it is not, the sizes "
        "in the model's configuration are wrong.",
    )
    try:
        with enforced(limits, lambda: end_now(slow)):
            yield
    except TimeIsUpError:
        raise slow from None
    except (MemoryError, SlipwayError) as error:
        if isinstance(error, SlipwayError) and error.reason is not Reason.OUT_OF_MEMORY:
            raise
        message = error.message if isinstance(error, SlipwayError) else "There is not enough memory to load the model."
        raise SlipwayError(
            Reason.OUT_OF_MEMORY,
            f"{message} It may use {format_bytes(limits.memory)}, in proportion to its weights and to what is free.",
            hint=f"If the sizes in the model's configuration are right, use a machine with more memory, or set "
            f"{variable('load_memory')} to more MiB.",
        ) from None


STEP = Step("load", "Load the model offline and record its golden answers.", LoadInputs, LoadOutputs, run)

if __name__ == "__main__":
    main(STEP)
