"""``docker build`` and ``docker push`` as a build service runs them: by buildah, or by a runner of a test."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Log = Callable[[str], None]


class StepFailed(Exception):
    """A step of a build ended with an error; the text says which."""


@dataclass(frozen=True)
class DockerBuild:
    """The arguments of ``docker build``, taken apart."""

    file: str
    tags: tuple[str, ...]
    build_args: dict[str, str]
    labels: dict[str, str]
    context: str


class Runner(Protocol):
    """Makes images and pushes them."""

    def build(self, docker: DockerBuild, folder: Path, log: Log) -> None:
        """Build in the unpacked source. Raises ``StepFailed``."""
        ...

    def push(self, image: str, log: Log) -> str:
        """Push and return the manifest's digest. Raises ``StepFailed``."""
        ...


class BuildahRunner:
    """Builds and pushes with buildah; registries in ``plain_http`` are used without TLS."""

    def __init__(self, plain_http: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> None:
        self._plain_http, self._flags = plain_http, flags

    def build(self, docker: DockerBuild, folder: Path, log: Log) -> None:
        command = ["buildah", "build", "--layers", "--timestamp", "0", *self._flags, "-f", str(folder / docker.file)]
        command += [f"--tag={tag}" for tag in docker.tags]
        command += [f"--build-arg={name}={value}" for name, value in docker.build_args.items()]
        command += [f"--label={name}={value}" for name, value in docker.labels.items()]
        base = docker.build_args.get("BASE_IMAGE", "")
        if base.partition("/")[0] in self._plain_http:
            command.append("--tls-verify=false")
        self._run([*command, str(folder / docker.context)], log)

    def push(self, image: str, log: Log) -> str:
        with tempfile.TemporaryDirectory() as folder:
            digest = Path(folder) / "digest"
            plain = image.partition("/")[0] in self._plain_http
            flags = ["--digestfile", str(digest), *(["--tls-verify=false"] if plain else [])]
            self._run(["buildah", "push", *flags, image, f"docker://{image}"], log)
            return digest.read_text().strip()

    def _run(self, command: list[str], log: Log) -> None:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        for line in (done.stdout + done.stderr).splitlines():
            log(line)
        if done.returncode:
            raise StepFailed(f"{command[0]} {command[1]} ended with {done.returncode}")


def parse_docker(arguments: list[str]) -> DockerBuild:
    """Take ``docker build``'s arguments apart. Raises ``StepFailed`` for any that is not known here."""
    if not arguments or arguments.pop(0) != "build":
        raise StepFailed("docker: only `docker build` is known here")
    values: dict[str, list[str]] = {"-f": [], "-t": [], "--build-arg": [], "--label": []}
    paths = []
    while arguments:
        argument = arguments.pop(0)
        if argument in values and arguments:
            values[argument].append(arguments.pop(0))
        elif argument.startswith("-"):
            raise StepFailed(f"docker: unknown flag: {argument}")
        else:
            paths.append(argument)
    if len(paths) != 1 or len(values["-f"]) != 1:
        raise StepFailed('docker: "docker build" requires exactly 1 argument and a file')
    pairs = {name: dict(value.partition("=")[::2] for value in values[name]) for name in ("--build-arg", "--label")}
    return DockerBuild(values["-f"][0], tuple(values["-t"]), pairs["--build-arg"], pairs["--label"], paths[0])
