"""The status of a ``Model``: what the operator writes, and nobody else.

Conditions follow kstatus (https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md): ``Reconciling`` and
``Stalled`` are there only while they are true. A condition's reason is a ``Reason`` of ``steps.core.errors`` or one of
``Progress``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_MESSAGE = 1024
MAX_DIGEST = 71  # sha256: and 64 hex digits


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
    """Why a condition is what it is, where nothing has failed."""

    ACCEPTED = "Accepted"
    STARTING = "Starting"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    PLANNED = "Planned"  # the builder `plan` makes no image, and none was asked for
    NOT_REACHED = "NotReached"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Condition(_Part):
    """One condition, as Kubernetes writes them (metav1.Condition)."""

    type: str = Field(max_length=64)
    status: Literal["True", "False", "Unknown"]
    reason: str = Field(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9]*$")
    message: str = Field("", max_length=MAX_MESSAGE)
    observed_generation: int = Field(0, ge=0)
    last_transition_time: str = Field(max_length=32, description="RFC 3339, UTC")


class ServiceStatus(_Part):
    """What was made for one task."""

    task: str = Field(max_length=64)
    archive: str = Field("", max_length=512, description="Key of the archive in the store.")
    archive_digest: str = Field("", max_length=MAX_DIGEST)
    image: str = Field("", max_length=512)
    image_digest: str = Field("", max_length=MAX_DIGEST, description="Empty where the image was only planned.")
    latency_ms: int = Field(0, ge=0, description="Median of the smoke test's warm requests.")


class LastFailure(_Part):
    """The failure that ended the last run, or a step's try that is being repeated."""

    step: str = Field(max_length=128)
    reason: str = Field(max_length=64)
    message: str = Field("", max_length=MAX_MESSAGE)
    hint: str = Field("", max_length=MAX_MESSAGE)
    retryable: bool = Field(False, description="Whether the same run may succeed later.")
    time: str = Field("", max_length=32)


class ModelStatus(_Part):
    """What became of the wish. ``finished_generation`` is what keeps a finished Model from being run again."""

    observed_generation: int = Field(0, ge=0, description="Generation that this status is about.")
    finished_generation: int = Field(0, ge=0, description="Newest generation whose run has ended; it is never run again.")
    workflow: str = Field("", max_length=63, description="Name of the run's Workflow.")
    revision: str = Field("", max_length=64, description="Commit that was fetched.")
    set_digest: str = Field("", max_length=MAX_DIGEST, description="Digest over the list of the model's files.")
    report: str = Field("", max_length=512, description="Key of the report in the store.")
    services: tuple[ServiceStatus, ...] = Field((), max_length=8)
    conditions: tuple[Condition, ...] = Field((), max_length=16)
    last_failure: LastFailure | None = None


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
