"""The builder ``plan``: it builds nothing. The build context and the Dockerfile are written, and the command is named."""

from __future__ import annotations

from steps.core.clock import Clock
from steps.core.progress import Progress
from steps.core.settings import Settings
from steps.images.builders.base import Builder, BuildRequest
from steps.images.builders.local import Program, build_command


class PlanBuilder(Builder):
    """Writes a plan: the complete build context, and the command that would build it with docker."""

    name = "plan"
    title = "writes the complete build context and the command that builds it, and makes no image"

    @classmethod
    def check(cls, settings: Settings, clock: Clock) -> str:
        """Find nothing missing: a plan needs nothing."""
        return "images are planned, and none is made"

    def command(self, request: BuildRequest) -> list[str]:
        """The arguments of docker; podman and buildah take the same."""
        return build_command(Program.DOCKER, request)

    def build(self, request: BuildRequest, progress: Progress) -> str:
        """Build nothing, and say so."""
        progress.note(f"{request.image} is planned, not built: the builder `{self.name}` makes no image.")
        return ""
