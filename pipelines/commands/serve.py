"""``slipway serve ARCHIVE``: a packaged service on this machine, checked before it starts."""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from pipelines.display.console import open_console
from steps.core.digest import read_chunks
from steps.core.documents import GoldenRequest
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.lock import Lock
from steps.frameworks.libraries import require_libraries
from steps.package.local_service import RunningService, form_value
from steps.package.local_service import serve as serve_package
from steps.package.unpack import unpack_archive


def serve(
    archive: Annotated[Path, typer.Argument(help="An archive that `slipway run` made.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 3000,
    sha256: Annotated[str, typer.Option(help="Refuse the archive unless it has this SHA-256 digest.")] = "",
) -> int:
    """Serve a packaged model on this machine.

    The archive is checked before it starts, and a command that calls the service is printed. Ctrl-C ends it.
    """
    console = open_console(sys.stdout)
    console.print(f"Checking {escape(str(archive))} and starting it …", soft_wrap=True)
    with serve_archive(archive, host=host, port=port, sha256=sha256.removeprefix("sha256:")) as running:
        about = running.about
        console.print(f"\n[bold]{escape(about['name'])}[/bold]: {escape(about['task'])} at {running.served.url}")
        console.print(f"set digest {escape(about['setDigest'])}\n", soft_wrap=True)
        print(running.curl, flush=True)
        console.print(f"\nTry it in a browser: {running.served.url}/   Ctrl-C ends it.")
        try:
            code = running.served.process.wait()
        except KeyboardInterrupt:
            console.print("Stopped.")
            return ExitCode.DONE
    raise SlipwayError(Reason.BOOT_FAILED, f"The service ended by itself with exit code {code}.")


@dataclass(frozen=True)
class Running:
    """A service that runs, and what its package says about it."""

    served: RunningService
    package: Path
    lock: Lock
    about: dict[str, Any]

    @property
    def curl(self) -> str:
        """A ``curl`` command that sends the service its golden request."""
        golden = GoldenRequest.model_validate_json((self.package / "src/golden/request.json").read_bytes())
        if golden.files:
            source = self.package / "src"
            parts = [f"-F {shlex.quote(f'{name}=@{source / path}')}" for name, path in golden.files.items()]
            parts += [f"-F {shlex.quote(f'{name}={form_value(value)}')}" for name, value in golden.fields.items()]
        else:
            parts = ["-H 'Content-Type: application/json'", f"-d {shlex.quote(json.dumps(golden.fields))}"]
        return f"curl -s {' '.join(parts)} {self.served.url}/predict"


@contextlib.contextmanager
def serve_archive(archive: Path, *, host: str = "127.0.0.1", port: int = 0, sha256: str = "") -> Iterator[Running]:
    """Unpack an archive, check it against its lock and, if given, its ``sha256``; serve it, and clean up afterwards."""
    if not archive.is_file():
        raise SlipwayError(Reason.INVALID_INPUT, f"There is no archive {archive}.", hint="`slipway run` prints its path.")
    require_libraries()
    with tempfile.TemporaryDirectory(prefix="slipway-serve-") as folder:
        package = Path(folder, "package")
        lock = unpack_archive(read_chunks(archive), package, sha256=sha256, what=str(archive))
        about = json.loads((package / "src/slipway.json").read_text())
        with serve_package(package, Path(folder, "home"), host=host, port=port) as served:
            yield Running(served, package, lock, about)
