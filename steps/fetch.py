"""The step fetch: from an address to a lock, and one copy of the model's files in the store."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import DIGEST_PATTERN, blob_key
from steps.core.names import ModelName
from steps.core.settings import read_settings
from steps.core.text import format_bytes
from steps.frameworks.supported import DEFAULT_FRAMEWORK, Framework
from steps.gate.json_files import architectures, check_config
from steps.images.builders.supported import BuilderKind, configured_builder
from steps.sources.base import ModelSource, SourceRequest, Survey
from steps.sources.choose import Choice
from steps.sources.supported import SourceKind, open_source
from steps.tasks.base import Task
from steps.tasks.table import AUTO, AUTO_ALONE, check_task, resolve, tasks_for_auto

Services = tuple[str, ...]


class FetchInputs(Inputs):
    """Where the model is, which of its files to fetch, and what it must be."""

    source_kind: SourceKind = Field(description="kind of source that the model is fetched from")
    source: str = Field(description="address of the model, of the form that the kind of source requires", max_length=2048)
    revision: str = Field("", description="branch, tag or commit; the default branch when empty", max_length=200)
    include: tuple[str, ...] = Field((), description="patterns of files to fetch in addition to the usual choice")
    exclude: tuple[str, ...] = Field((), description="patterns of files not to fetch")
    services: Services = Field(
        (), description="tasks that the model must be able to do, checked before its weights are fetched; or auto"
    )
    expected_set_digest: str = Field("", description="set digest that the files must have; empty: any", pattern=DIGEST_PATTERN)
    # Only later steps use these, so they are no part of the receipt. What those would refuse is refused before it is fetched.
    name: ModelName | None = Field(None, description="name of the model, where it is checked already here", exclude=True)
    framework: Framework = Field(DEFAULT_FRAMEWORK, description="library that will open the model", exclude=True)
    builder: BuilderKind = Field(
        default_factory=lambda: configured_builder(read_settings()),
        description="builder that will make the images",
        exclude=True,
    )


class FetchOutputs(Outputs):
    """The lock, and what was fetched."""

    lock: str = Field(description="store key of the lock")
    services: Services = Field(description="tasks to serve, by their names in the task table, as a JSON list")
    set_digest: str = Field(description="SHA-256 over the list of files")
    revision: str = Field(description="the commit that was fetched; empty where the source has none")
    files: int = Field(description="number of files that were fetched")
    bytes: int = Field(description="size of these files in bytes")
    left_files: int = Field(description="number of files that were not fetched")
    left_bytes: int = Field(description="size of these files in bytes")


def run(inputs: FetchInputs, context: Context) -> FetchOutputs:
    """Fetch one copy of a model's files, check every byte, and write the lock.

    Reads the repository, folder or bucket at ``source``. The revision is resolved to a commit first, and only the commit is
    used afterwards. One copy of one weight format (safetensors) is chosen, with configuration and tokenizer files.
    ``config.json`` is checked against the tasks before any weight is fetched.

    Publishes each file under ``blobs/sha256/…`` and the lock under ``locks/``.

    Repeating: with the same commit and inputs, the receipt is found and nothing is fetched. After an interruption, files that
    are complete in the store are checked and kept, and partial downloads continue where the server supports ranges.

    Raises:
        SlipwayError: ``InvalidSource``, ``UnknownTask`` and ``InvalidInput`` for wrong inputs; ``SourceNotFound``,
            ``AccessDenied``, ``RevisionNotFound``, ``NotLfs``, ``LfsUnavailable``, ``LfsObjectMissing`` and
            ``SourceProtocol`` for what the source does not have; ``UnsafePath``, ``ForbiddenFormat``, ``InvalidWeights``,
            ``RemoteCode``, ``InvalidConfig`` and ``TooLarge`` for files that are refused; ``NoSafetensors`` and
            ``TaskMismatch`` for models that cannot be served; ``SetDigestUnexpected`` for other content than expected;
            ``DigestMismatch`` for bytes that differ from their digest; ``DiskFull``; ``MissingDependency`` without git;
            ``BuilderMissing`` without the program of the builder;
            ``SourceBusy`` and ``NetworkUnreachable`` when a retry may help.
    """
    with source_of(inputs, context) as source:

        def check(found: Survey) -> None:
            check_survey(found, inputs.services)
            context.check_space(keys_and_sizes(found.choice))

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


def keys_and_sizes(choice: Choice) -> list[tuple[str, int]]:
    """For each file its key in the store, as far as that is known before it is fetched, and its size in bytes."""
    return [(blob_key(file.ref) if file.stored == "lfs" else "", file.size) for file in choice.files]


def source_of(inputs: FetchInputs, context: Context) -> ModelSource:
    """Open the source that the inputs name."""
    request = SourceRequest(inputs.source, inputs.revision, inputs.include, inputs.exclude)
    return open_source(inputs.source_kind, request, context)


def pin(inputs: FetchInputs, context: Context) -> FetchInputs:
    """Replace the revision by the commit that it names now, and tasks by their names in the table.

    Tasks and builder come first, so that a misspelt or missing one costs no connection.
    """
    if inputs.builder.builder.needs_program:
        inputs.builder.builder.open()
    if AUTO in inputs.services and len(inputs.services) > 1:
        raise SlipwayError(Reason.INVALID_INPUT, f"--services: {AUTO_ALONE}.")
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
    config = check_config(text)
    files = frozenset(file.path for file in survey.choice.files)
    if AUTO in services:
        return tuple(task.name for task in _chosen(config, files, survey.texts))
    tasks = [resolve(name) for name in services]
    for task in tasks:
        check_task(task, config, files, survey.texts)
    return tuple(task.name for task in tasks)


def _chosen(config: Mapping[str, object], files: frozenset[str], texts: Mapping[str, bytes]) -> list[Task]:
    tasks = tasks_for_auto(config, files, texts)
    if not tasks:
        names = ", ".join(architectures(config))
        raise SlipwayError(Reason.TASK_MISMATCH, f"services: auto finds no task for the architecture {names} with these files.")
    return tasks


STEP = Step(
    "fetch", "Fetch one copy of a model's files, check every byte, and write the lock.", FetchInputs, FetchOutputs, run, pin
)

if __name__ == "__main__":
    main(STEP)
