"""The builder that builds nothing: the context and the Dockerfile are written, and the command is named."""

from __future__ import annotations

from steps.core.progress import Progress
from steps.images.builders.base import BuilderKind, BuildRequest
from steps.images.builders.local import Program, build_command


class PlanBuilder:
    """``builder: plan``, and what ``build`` does where a later step has the image built."""

    def __init__(self, kind: BuilderKind = BuilderKind.PLAN) -> None:
        self.kind = kind

    def command(self, request: BuildRequest) -> list[str]:
        return build_command(Program.DOCKER, request)

    def build(self, request: BuildRequest, progress: Progress) -> str:
        if self.kind is BuilderKind.PLAN:
            progress.note(f"{request.image} is planned, not built: the builder `plan` makes no image.")
        else:
            progress.note(f"{request.image} is planned: the step `{self.kind}` has it built.")
        return ""
