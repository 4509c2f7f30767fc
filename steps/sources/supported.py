"""The table of sources: the one place where a kind of source is added.

``SourceKind`` is the type of the field ``sourceKind`` in a Model and of the flag ``--source-kind``, so the CRD and its rules,
the help and the parameters of the WorkflowTemplate are made from it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.sources.base import ModelSource, SourceRequest
from steps.sources.git_lfs import GitLfsSource
from steps.sources.upload import UploadSource


class SourceKind(StrEnum):
    """The table. A member is the value of ``sourceKind``, and ``source`` is its class. The first member is the default."""

    _value_: str
    source: type[ModelSource]

    def __new__(cls, source: type[ModelSource]) -> Self:
        """Make a member of a source's class, with the source's name as its value."""
        member = str.__new__(cls, source.name)
        member._value_ = source.name
        member.source = source
        return member

    GIT_LFS = GitLfsSource
    UPLOAD = UploadSource


DEFAULT_SOURCE = next(iter(SourceKind))


def find_source(name: str) -> SourceKind:
    """Return the kind of this name.

    Raises:
        SlipwayError: ``InvalidInput`` where there is none; names all kinds.
    """
    for kind in SourceKind:
        if kind == name:
            return kind
    hint = f"There are: {'; '.join(f'{kind} ({kind.source.title})' for kind in SourceKind)}."
    raise SlipwayError(Reason.INVALID_INPUT, f"There is no kind of source {name!r}.", hint=hint)


def open_source(kind: SourceKind, request: SourceRequest, context: Context) -> ModelSource:
    """Open the source of this kind; use it as a context manager.

    Raises:
        SlipwayError: ``InvalidSource`` for an address that the kind does not take.
    """
    return kind.source(request, context)
