"""Making the image: one contract, several back ends.

A builder gets a complete build context in a folder and returns the image's digest. ``plan`` makes nothing and returns none:
the plan itself says what would be built. ``local`` drives a program that runs the Dockerfile; ``oci`` assembles the image
itself, on a laptop as in a pod without rights, and pushes it. What the image is stands in ``steps.images.description``, for
all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from steps.core.progress import Progress

if TYPE_CHECKING:
    from steps.core.contract import Context
    from steps.core.lock import Lock

DOCKERFILE = "env/docker/Dockerfile"


class BuilderKind(StrEnum):
    """The values of ``builder``."""

    PLAN = "plan"
    LOCAL = "local"
    CLOUDBUILD = "cloudbuild"
    OCI = "oci"


@dataclass(frozen=True)
class BuildRequest:
    """What to build. ``labels`` go to the program as arguments, never into the Dockerfile's text.

    ``context`` is the build context's folder, ``step`` what the step itself has: its store, its clock. With a ``registry``
    the image goes there, under its name.
    """

    context: Path
    image: str
    base_image: str
    labels: Mapping[str, str]
    lock: Lock
    step: Context
    registry: str = ""


class Builder(Protocol):
    """Makes an image of a build context."""

    def command(self, request: BuildRequest) -> list[str]:
        """The command line that builds it, for a person as for the builder itself; empty where there is none."""
        ...

    def build(self, request: BuildRequest, progress: Progress) -> str:
        """Build and return the image's digest, ``sha256:…``; empty where nothing is built. Raises ``BuildFailed``."""
        ...


def open_builder(kind: BuilderKind) -> Builder:
    """The back end of this kind. Raises ``BuilderMissing`` when no program for it is installed."""
    from steps.images.builders import local, oci, plan

    match kind:
        case BuilderKind.PLAN | BuilderKind.CLOUDBUILD:  # the step cloudbuild has it built
            return plan.PlanBuilder(kind)
        case BuilderKind.LOCAL:
            return local.LocalBuilder.find()
        case BuilderKind.OCI:
            return oci.OciBuilder()
