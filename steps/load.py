"""load: open the model once, away from any network, and write down what it is and what it answers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.lock import Lock, verify_folder
from steps.frameworks.supported import DEFAULT_FRAMEWORK, Framework, open_loader
from steps.tasks.table import resolve


class LoadInputs(Inputs):
    lock: str = Field(description="store key of the lock that fetch wrote")
    services: tuple[str, ...] = Field(description="tasks to load the model for", min_length=1)
    framework: Framework = Field(DEFAULT_FRAMEWORK, description="library that the model is made with")


class LoadOutputs(Outputs):
    facts: str = Field(description="store key of what was found out, with each task's golden answer")
    architecture: str = Field(description="class name from config.json")
    parameters: int = Field(description="numbers in the weights")


def run(inputs: LoadInputs, context: Context) -> LoadOutputs:
    tasks = [resolve(name) for name in inputs.services]
    lock = context.read_document(inputs.lock, Lock)
    with context.private_folder() as scratch:
        folder = bring_model(lock, scratch / "model", context)
        facts = open_loader(inputs.framework).prepare_bento_model(lock, folder, tasks, context.progress)
    return LoadOutputs(
        facts=context.publish_document("facts", facts), architecture=facts.architecture, parameters=facts.parameters
    )


def bring_model(lock: Lock, folder: Path, context: Context) -> Path:
    """The lock's files in a folder, each checked against the lock after it arrived."""
    for file in lock.files:
        context.store.copy_to(file.key, folder / file.path)
    verify_folder(lock, folder)
    return folder


STEP = Step("load", "Load the model offline and record its golden answers.", LoadInputs, LoadOutputs, run)

if __name__ == "__main__":
    main(STEP)
