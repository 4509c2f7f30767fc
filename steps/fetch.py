"""fetch: from an address to a lock, and the files of one copy of the model in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.errors import Reason, SlipwayError
from steps.core.text import format_bytes
from steps.gate.json_files import architectures, check_json
from steps.sources.base import ModelSource, Request, SourceKind, Survey, open_source
from steps.tasks.base import Task
from steps.tasks.table import AUTO, check_task, resolve, tasks_for_auto

Services = tuple[str, ...]


class FetchInputs(Inputs):
    source_kind: SourceKind = Field(description="where the model comes from")
    source: str = Field(description="address of the repository; a folder or bucket prefix for upload", max_length=2048)
    revision: str = Field("", description="branch, tag or commit; the default branch when empty", max_length=200)
    include: tuple[str, ...] = Field((), description="patterns of files to take beside the usual choice")
    exclude: tuple[str, ...] = Field((), description="patterns of files to leave out")
    services: Services = Field((), description="tasks that the model must be able to do, checked before weights move; or auto")
    expected_set_digest: str = Field("", description="refuse any other content", pattern=r"^([0-9a-f]{64})?$")


class FetchOutputs(Outputs):
    lock: str = Field(description="store key of the lock")
    services: Services = Field(description="the tasks to serve, as a JSON list")
    set_digest: str = Field(description="sha256 over the list of files")
    revision: str = Field(description="the commit that was fetched; empty where the source has none")
    files: int = Field(description="files taken")
    bytes: int = Field(description="their size")
    left_files: int = Field(description="files left behind")
    left_bytes: int = Field(description="their size")


def source_of(inputs: FetchInputs, context: Context) -> ModelSource:
    """The source that the inputs name."""
    request = Request(inputs.source, inputs.revision, inputs.include, inputs.exclude)
    return open_source(inputs.source_kind, request, context)


def pin(inputs: FetchInputs, context: Context) -> FetchInputs:
    """The same inputs with the revision as it is now, and tasks by their one name; a misspelt task costs no connection."""
    services = tuple(name if name == AUTO else resolve(name).name for name in inputs.services)
    with source_of(inputs, context) as source:
        return inputs.model_copy(update={"revision": source.pin(), "services": services})


def check_survey(survey: Survey, services: Services) -> Services:
    """Refuse a model before its weights are fetched, as far as ``config.json`` and the other files' names can tell.

    (What more a model needs than that to be opened, load finds out; see ``steps.tasks.optional_libraries``.)

    Returns the tasks by their one name, ``auto`` replaced by what the model can do.
    """
    text = survey.texts.get("config.json")
    if text is None and AUTO in services:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            "services: auto needs a config.json that lies in Git itself, and this one is too large or in LFS.",
            hint="Name the tasks instead.",
        )
    if text is None:  # checked by load
        return tuple(resolve(name).name for name in services)
    config = check_json("config.json", text)
    architectures(config)
    files = frozenset(file.path for file in survey.choice.files)
    if AUTO in services:
        return tuple(task.name for task in _chosen(config, files, survey.texts))
    tasks = [resolve(name) for name in services]
    for task in tasks:
        check_task(task, config, files, survey.texts)
    return tuple(task.name for task in tasks)


def _chosen(config: Any, files: frozenset[str], texts: Mapping[str, bytes]) -> list[Task]:
    tasks = tasks_for_auto(config, files, texts)
    if not tasks:
        names = ", ".join(architectures(config))
        raise SlipwayError(Reason.TASK_MISMATCH, f"services: auto finds no task for the architecture {names} with these files.")
    return tasks


def run(inputs: FetchInputs, context: Context) -> FetchOutputs:
    with source_of(inputs, context) as source:

        def check(found: Survey) -> None:
            check_survey(found, inputs.services)

        lock, survey = source.fetch(check)
    if inputs.expected_set_digest and lock.set_digest != inputs.expected_set_digest:
        raise SlipwayError(
            Reason.SET_DIGEST_UNEXPECTED,
            f"The files have the set digest {lock.set_digest}, and {inputs.expected_set_digest} was expected.",
        )
    context.progress.note(f"Every digest is right: {len(lock.files)} files, {format_bytes(lock.size)}.")
    return FetchOutputs(
        lock=context.publish_document("locks", lock),
        services=check_survey(survey, inputs.services),
        set_digest=lock.set_digest,
        revision=lock.revision,
        files=len(lock.files),
        bytes=lock.size,
        left_files=len(survey.choice.left),
        left_bytes=survey.choice.left_size,
    )


STEP = Step(
    "fetch", "Fetch one copy of a model's files, check every byte, and write the lock.", FetchInputs, FetchOutputs, run, pin
)

if __name__ == "__main__":
    main(STEP)
