"""Making the image: one contract, several back ends.

A builder gets a complete build context in a folder and returns the image's digest. ``plan`` makes nothing and returns none:
the plan itself says what would be built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from steps.progress import Progress

DOCKERFILE = "env/docker/Dockerfile"


class BuilderKind(StrEnum):
    """The values of ``builder``."""

    PLAN = "plan"
    LOCAL = "local"


@dataclass(frozen=True)
class BuildRequest:
    """What to build. ``labels`` go to the program as arguments, never into the Dockerfile's text."""

    context: Path
    image: str
    base_image: str
    labels: Mapping[str, str]


class Builder(Protocol):
    """Makes an image of a build context."""

    def command(self, request: BuildRequest) -> list[str]:
        """The command line that builds it, for a person as for the builder itself."""
        ...

    def build(self, request: BuildRequest, progress: Progress) -> str:
        """Build and return the image's digest, ``sha256:…``; empty where nothing is built. Raises ``BuildFailed``."""
        ...


def open_builder(kind: BuilderKind) -> Builder:
    """The back end of this kind. Raises ``BuilderMissing`` when no program for it is installed."""
    from steps.builders import local, plan

    return local.LocalBuilder.find() if kind is BuilderKind.LOCAL else plan.PlanBuilder()
