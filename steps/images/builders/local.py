"""The builder ``local``: it uses buildah, podman or docker, whichever this machine has, in this order.

The three take nearly the same arguments. ``--timestamp 0`` (buildah, podman) keeps the time of building out of the layers.
pip inside the build gets this process's ``PIP_INDEX_URL`` and ``PIP_EXTRA_INDEX_URL``;
``SLIPWAY_BUILD_FLAGS`` holds more arguments for the program (mounts, networks), split as a shell would. Where a registry is
set, the program pushes the image there, with the credentials that it finds by its own rules.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from enum import StrEnum
from pathlib import Path

from steps.core.clock import Clock
from steps.core.environment import for_builder
from steps.core.errors import Reason, SlipwayError
from steps.core.process import capture, run_program
from steps.core.progress import Progress
from steps.core.settings import Settings, read_settings
from steps.images.builders.base import Builder, BuildRequest
from steps.images.description import DOCKERFILE
from steps.images.registry.reference import uses_plain_http

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
BUILD_FLAGS = "SLIPWAY_BUILD_FLAGS"


class Program(StrEnum):
    """Programs that build images, in the order of preference: the first two need no daemon."""

    BUILDAH = "buildah"
    PODMAN = "podman"
    DOCKER = "docker"


class LocalBuilder(Builder):
    """Runs the Dockerfile with a program of this machine, and pushes the image with it where a registry is set."""

    name = "local"
    title = "runs buildah, podman or docker, whichever is here"
    needs_program = True

    def __init__(self, program: Program) -> None:
        self.program = program

    @classmethod
    def open(cls) -> LocalBuilder:
        """The builder with the first program that is installed and running. Raises ``BuilderMissing`` where there is none."""
        for program in Program:
            if shutil.which(program) and _works(program):
                return cls(program)
        raise SlipwayError(Reason.BUILDER_MISSING, "None of buildah, podman and docker is installed and running here.")

    @classmethod
    def check(cls, settings: Settings, clock: Clock) -> str:
        """Say which program there is. Raises ``BuilderMissing`` where there is none."""
        return f"{cls.open().program} is here"

    @classmethod
    def image_storage(cls) -> Path | None:
        """Where the program keeps layers by default; another place, in its own configuration, is not known here."""
        found = next((program for program in Program if shutil.which(program)), None)
        if found is Program.DOCKER:
            folder = Path("/var/lib/docker")
        else:
            folder = Path("/var/lib/containers" if os.geteuid() == 0 else os.path.expanduser("~/.local/share/containers"))
        return folder if found and folder.is_dir() else None

    def command(self, request: BuildRequest) -> list[str]:
        """The arguments of the program that was found."""
        return build_command(self.program, request)

    def build(self, request: BuildRequest, progress: Progress) -> str:
        """Build, push where there is a registry, and return the digest. Raises ``BuildFailed`` with the program's output."""
        progress.note(f"Building {request.image} with {self.program}.")
        self._run(self.command(request), progress)
        if not request.registry:
            return self._digest(request.image)
        progress.note(f"Pushing {request.image}.")
        with request.step.private_folder() as scratch:
            digest_file = scratch / "digest"
            output = self._run(push_command(self.program, request.image, digest_file), progress)
            # The registry's digest: compressing the layers gives another one than this machine's storage has.
            found = _DIGEST.search(output if self.program is Program.DOCKER else digest_file.read_text())
        if not found:
            raise SlipwayError(Reason.BUILD_FAILED, f"{self.program} pushed {request.image} and did not print its digest.")
        return found.group()

    def _run(self, command: list[str], progress: Progress) -> str:
        """Run the program, show its steps, and return its last lines. Raises ``BuildFailed`` with them."""

        def show_step(line: str) -> str:
            if line.startswith(("STEP ", "Step ")):
                progress.note(line)
            return line

        ended = run_program(command, show_step, for_builder())
        if ended.exit_code != 0:
            raise SlipwayError(Reason.BUILD_FAILED, f"{self.program} failed ({ended.exit_code}):\n{ended.last_lines}")
        return ended.last_lines

    def _digest(self, image: str) -> str:
        """The digest of the image's manifest; of its configuration where the program knows no manifest (docker)."""
        match self.program:
            case Program.BUILDAH:
                command = ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", image]
            case Program.PODMAN:
                command = ["podman", "image", "inspect", "--format", "{{.Digest}}", image]
            case Program.DOCKER:
                command = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
        done = capture(command, for_builder())
        digest = done.stdout.decode(errors="replace").strip()
        if not _DIGEST.fullmatch(digest):
            raise SlipwayError(
                Reason.BUILD_FAILED,
                f"{self.program} built {image} and does not show its digest: {done.stderr.decode(errors='replace').strip()}",
            )
        return digest


def build_command(program: Program, request: BuildRequest) -> list[str]:
    """The arguments that build this request with this program; every value is an argument of its own."""
    command = [str(program), "build", "-f", str(request.context / DOCKERFILE), "-t", request.image]
    if program is not Program.DOCKER:
        # Where layers are kept, a build that fails would leave its container behind.
        command += ["--layers", "--force-rm", "--timestamp", "0"]
    command += ["--build-arg", f"BASE_IMAGE={request.base_image}"]
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        if name in os.environ:
            command += ["--build-arg", name]  # the program takes the value from the environment, so no command line shows it
    command += _build_flags(os.environ.get(BUILD_FLAGS, ""))
    for name, value in sorted(request.labels.items()):
        command += ["--label", f"{name}={value}"]
    return [*command, str(request.context)]


def _build_flags(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise SlipwayError(
            Reason.INVALID_INPUT, f"{BUILD_FLAGS} cannot be split into arguments: {error}.", hint="Close its quotes."
        ) from None


def push_command(program: Program, image: str, digest_file: Path) -> list[str]:
    """The arguments that push an image under its own name; all but docker write its digest to a file."""
    if program is Program.DOCKER:  # whose daemon has its own list of registries without TLS
        return ["docker", "push", image]
    host = image.partition("/")[0]
    tls = ["--tls-verify=false"] if uses_plain_http(host, read_settings().plain_http) else []
    return [str(program), "push", "--digestfile", str(digest_file), *tls, image, f"docker://{image}"]


def _works(program: Program) -> bool:
    """Whether the program can build: docker's daemon must answer; the others need none."""
    if program is not Program.DOCKER:
        return True
    return capture(["docker", "version"], for_builder()).exit_code == 0
