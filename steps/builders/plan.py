"""The builder that builds nothing: the context and the Dockerfile are written, and the command is named."""

from __future__ import annotations

from steps.builders import BuildRequest
from steps.builders.local import Program, build_command
from steps.progress import Progress


class PlanBuilder:
    """``builder: plan``."""

    def command(self, request: BuildRequest) -> list[str]:
        return build_command(Program.DOCKER, request)

    def build(self, request: BuildRequest, progress: Progress) -> str:
        progress.note(f"{request.image} is planned, not built: the builder `plan` makes no image.")
        return ""
