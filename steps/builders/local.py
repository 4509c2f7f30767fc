"""The builder that uses what this machine has: buildah, podman or docker, in this order.

The three take nearly the same arguments. ``--timestamp 0`` (buildah, podman) keeps the time of building out of the layers.
Where pip looks for packages inside the build is passed on from this process's ``PIP_INDEX_URL`` and ``PIP_EXTRA_INDEX_URL``;
``SLIPWAY_BUILD_FLAGS`` holds more arguments for the program (mounts, networks), split as a shell would.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections import deque
from enum import StrEnum

from steps.builders import DOCKERFILE, BuildRequest
from steps.errors import Reason, SlipwayError
from steps.progress import Progress

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
BUILD_FLAGS = "SLIPWAY_BUILD_FLAGS"
TAIL = 15  # lines of the program's output that a failure shows


class Program(StrEnum):
    """Programs that build images, in the order of preference: the first two need no daemon."""

    BUILDAH = "buildah"
    PODMAN = "podman"
    DOCKER = "docker"


class LocalBuilder:
    """``builder: local``."""

    def __init__(self, program: Program) -> None:
        self.program = program

    @classmethod
    def find(cls) -> LocalBuilder:
        for program in Program:
            if shutil.which(program) and _works(program):
                return cls(program)
        raise SlipwayError(Reason.BUILDER_MISSING, "None of buildah, podman and docker is installed and running here.")

    def command(self, request: BuildRequest) -> list[str]:
        return build_command(self.program, request)

    def build(self, request: BuildRequest, progress: Progress) -> str:
        progress.note(f"Building {request.image} with {self.program}.")
        tail: deque[str] = deque(maxlen=TAIL)
        with subprocess.Popen(
            self.command(request),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None, "it is a pipe"
            try:
                for line in process.stdout:
                    tail.append(line.rstrip())
                    if line.startswith(("STEP ", "Step ")):
                        progress.note(line.strip())
            except BaseException:  # stopped: leaving the block waits for the program's end
                process.terminate()
                raise
        if process.returncode != 0:
            raise SlipwayError(Reason.BUILD_FAILED, f"{self.program} failed ({process.returncode}):\n" + "\n".join(tail))
        return self._digest(request.image)

    def _digest(self, image: str) -> str:
        """The digest of the image's manifest; of its configuration where the program knows no manifest (docker)."""
        match self.program:
            case Program.BUILDAH:
                command = ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageDigest}}", image]
            case Program.PODMAN:
                command = ["podman", "image", "inspect", "--format", "{{.Digest}}", image]
            case Program.DOCKER:
                command = ["docker", "image", "inspect", "--format", "{{.Id}}", image]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        digest = done.stdout.strip()
        if not _DIGEST.fullmatch(digest):
            raise SlipwayError(
                Reason.BUILD_FAILED, f"{self.program} built {image} and does not tell its digest: {done.stderr.strip()}"
            )
        return digest


def build_command(program: Program, request: BuildRequest) -> list[str]:
    """The arguments that build this request with this program; every value is an argument of its own."""
    command = [str(program), "build", "-f", str(request.context / DOCKERFILE), "-t", request.image]
    if program is not Program.DOCKER:
        command += ["--layers", "--timestamp", "0"]
    command += ["--build-arg", f"BASE_IMAGE={request.base_image}"]
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        if name in os.environ:
            command += ["--build-arg", name]  # the value is taken from the environment, and shown nowhere
    command += shlex.split(os.environ.get(BUILD_FLAGS, ""))
    for name, value in sorted(request.labels.items()):
        command += ["--label", f"{name}={value}"]
    return [*command, str(request.context)]


def _works(program: Program) -> bool:
    """Docker's client alone builds nothing: its daemon must answer. The others have none."""
    if program is not Program.DOCKER:
        return True
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
