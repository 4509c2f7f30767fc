"""The status of a ``Model``, which only the operator writes.

Conditions follow kstatus (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md): ``Reconciling`` and
``Stalled`` are there only while they are true. A condition's reason is a ``Reason`` of ``steps.core.errors`` or a
``ProgressReason``. The descriptions of classes and fields are what ``kubectl explain model.status`` displays.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from steps.tasks.table import MAX_SERVICES

MAX_MESSAGE = 1024  # characters
MAX_DIGEST = 71  # sha256: and 64 hex digits
MAX_REVISION = 64  # hex digits of a commit
MAX_KEY = 512  # characters of a key in the store, or of an image's name


class ConditionType(StrEnum):
    """The conditions of a Model, in the order in which they become true."""

    ACCEPTED = "Accepted"
    FETCHED = "Fetched"
    VERIFIED = "Verified"
    PACKAGED = "Packaged"
    BUILT = "Built"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ProgressReason(StrEnum):
    """The reason of a condition where nothing has failed."""

    ACCEPTED = "Accepted"
    STARTING = "Starting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    PLANNED = "Planned"  # the builder `plan` makes no image, and none was requested
    NOT_REACHED = "NotReached"


class _Part(BaseModel):
    """A part of the status: field names in camelCase, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Condition(_Part):
    """One condition, in the form of meta/v1 Condition."""

    type: str = Field(max_length=64, description="What the condition is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether the condition holds.")
    reason: str = Field(
        max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$", description="Why the condition has this status, as one word."
    )
    message: str = Field("", max_length=MAX_MESSAGE, description="Why the condition has this status, as a sentence.")
    observed_generation: int = Field(0, ge=0, description="Generation that the condition is about.")
    last_transition_time: str = Field(max_length=32, description="When the condition's status last changed (RFC 3339, in UTC).")


class ServiceStatus(_Part):
    """The results of one service."""

    task: str = Field(max_length=64, description="Hugging Face task name of the service.")
    archive: str = Field("", max_length=MAX_KEY, description="Key of the archive in the store.")
    archive_digest: str = Field("", max_length=MAX_DIGEST, description="Digest of the archive.")
    image: str = Field("", max_length=MAX_KEY, description="Name and tag of the image.")
    image_digest: str = Field("", max_length=MAX_DIGEST, description="Digest of the image; empty where the builder makes none.")
    latency_ms: int = Field(0, ge=0, description="Median time of the smoke test's requests after the first, in ms.")


class LastFailure(_Part):
    """The failure that ended the last run, or an attempt of a step that is being repeated."""

    step: str = Field(max_length=128, description="Step that failed.")
    reason: str = Field(max_length=64, description="Why it failed, as one word.")
    message: str = Field("", max_length=MAX_MESSAGE, description="Why it failed, as a sentence.")
    hint: str = Field("", max_length=MAX_MESSAGE, description="What to do about it.")
    retryable: bool = Field(False, description="Whether the same run may succeed later.")
    time: str = Field("", max_length=32, description="When it failed (RFC 3339, in UTC).")


class ModelStatus(_Part):
    """Observed state of the Model."""

    observed_generation: int = Field(0, ge=0, description="Generation that this status is about.")
    finished_generation: int = Field(0, ge=0, description="Newest generation whose run has ended. It is not run again.")
    workflow: str = Field("", max_length=63, description="Name of the run's Workflow.")
    revision: str = Field("", max_length=MAX_REVISION, description="Commit that was fetched.")
    set_digest: str = Field("", max_length=MAX_DIGEST, description="Digest of the list of the model's files.")
    report: str = Field("", max_length=MAX_KEY, description="Key of the report in the store.")
    services: tuple[ServiceStatus, ...] = Field((), max_length=MAX_SERVICES, description="Results of each service.")
    conditions: tuple[Condition, ...] = Field((), max_length=16, description="What is done, and what is not.")
    last_failure: LastFailure | None = Field(
        None, description="Failure that ended the last run, or an attempt of a step that is being repeated."
    )


def status_patch(status: ModelStatus) -> dict[str, object]:
    """The status as a JSON merge patch (RFC 7386): what is empty is left out, and removed where it was set before."""
    values = _without_empty(status.model_dump(mode="json", by_alias=True))
    assert isinstance(values, dict)
    return {field.alias or name: values.get(field.alias or name) for name, field in ModelStatus.model_fields.items()}


def _without_empty(value: object) -> object:
    """The value without the fields, at any depth, that hold an empty text, 0, null or an empty list."""
    if isinstance(value, dict):
        return {key: _without_empty(item) for key, item in value.items() if item is False or item not in ("", 0, None, [])}
    return [_without_empty(item) for item in value] if isinstance(value, list) else value
