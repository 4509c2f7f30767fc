"""The step load: open the model once, without a network, and record what it is and what it answers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.lock import Lock, verify_folder
from steps.core.store import StoreKey
from steps.frameworks.supported import DEFAULT_FRAMEWORK, Framework, open_loader
from steps.tasks.table import resolve


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
    network and no credentials except those of the store. Code from the model's repository is never imported.

    Publishes the facts (architecture, parameters, licence, versions, golden answers) under ``facts/``.

    Repeating: with the same lock, tasks and framework, the receipt is found and the model is not loaded again.

    Raises:
        SlipwayError: ``UnknownTask`` and ``InvalidInput`` for wrong inputs; ``StoreUnreadable`` without the lock or its
            files; ``DigestMismatch``, ``LockMismatch`` and ``UnsafePath`` for files that changed; ``InvalidConfig``,
            ``InvalidWeights`` and ``RemoteCode`` for files that are refused; ``TaskMismatch`` for a task that the model
            cannot do; ``LoadFailed`` when the library cannot open the model or answer; ``OutOfMemory``; ``DiskFull``;
            ``MissingDependency`` without a library that the model needs.
    """
    tasks = [resolve(name) for name in inputs.services]
    lock = context.read_document(inputs.lock, Lock)
    with context.private_folder() as scratch:
        folder = copy_model(lock, scratch / "model", context)
        facts = open_loader(inputs.framework).prepare_bento_model(lock, folder, tasks, context.progress)
    return LoadOutputs(
        facts=context.publish_document("facts", facts), architecture=facts.architecture, parameters=facts.parameters
    )


def copy_model(lock: Lock, folder: Path, context: Context) -> Path:
    """Copy the lock's files into a folder, and check each against the lock; returns the folder."""
    for file in lock.files:
        context.store.copy_to(file.key, folder / file.path)
    verify_folder(lock, folder)
    return folder


STEP = Step("load", "Load the model offline and record its golden answers.", LoadInputs, LoadOutputs, run)

if __name__ == "__main__":
    main(STEP)
