"""The builders that there are: the one place where a builder is added.

``BuilderKind`` is the type of the field ``builder`` in a Model and of the flag ``--builder``, so the CRD, the help and the
checks of settings are made from it. ``steps.core.settings`` lies below this room and keeps the name of a builder as a plain
string; ``configured_builder`` checks it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from steps.core.errors import Reason, SlipwayError
from steps.core.settings import Settings
from steps.images.builders.base import Builder
from steps.images.builders.cloudbuild import CloudBuildBuilder
from steps.images.builders.local import LocalBuilder
from steps.images.builders.oci import OciBuilder
from steps.images.builders.plan import PlanBuilder


class BuilderKind(StrEnum):
    """The table of builders. A member is the builder's name, and ``builder`` is its class."""

    _value_: str
    builder: type[Builder]

    def __new__(cls, builder: type[Builder]) -> Self:
        """Make a member of a builder's class, with the builder's name as its value."""
        member = str.__new__(cls, builder.name)
        member._value_ = builder.name
        member.builder = builder
        return member

    PLAN = PlanBuilder
    LOCAL = LocalBuilder
    OCI = OciBuilder
    CLOUDBUILD = CloudBuildBuilder


# What can make an image in a pod: the programs that build images want more rights than any pod of ours has.
IN_CLUSTER = tuple(kind for kind in BuilderKind if not kind.builder.needs_program)


def configured_builder(settings: Settings) -> BuilderKind:
    """The builder that the settings name.

    Raises:
        SlipwayError: ``InvalidInput`` where there is none of that name; names the file or the variable, and all builders.
    """
    for kind in BuilderKind:
        if kind == settings.builder:
            return kind
    raise SlipwayError(
        Reason.INVALID_INPUT,
        f"{settings.place('builder')}: there is no builder {settings.builder!r}.",
        hint=f"There are: {', '.join(BuilderKind)}.",
    )
