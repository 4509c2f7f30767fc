"""``slipway serve ARCHIVE``: a packaged service on this machine, checked before it starts."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from pipelines.display.console import open_console
from steps.core.digest import SHA256, read_chunks
from steps.core.documents import GoldenRequest
from steps.core.errors import ExitCode, Reason, SlipwayError, Terminated
from steps.core.folders import temporary_folder
from steps.core.lock import Lock
from steps.core.text import display_text
from steps.frameworks.libraries import require_libraries
from steps.package.listen import check_listen
from steps.package.local_service import RunningService, form_value
from steps.package.local_service import serve as serve_package
from steps.package.unpack import unpack_archive

GZIP = b"\x1f\x8b"  # what a gzip member begins with
ARCHIVE_HINT = "Name an archive (.tar.gz); `slipway run` prints its path."


def serve(
    archive: Annotated[Path, typer.Argument(help="An archive that `slipway run` made.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 3000,
    sha256: Annotated[str | None, typer.Option(help="Refuse the archive unless it has this SHA-256 digest.")] = None,
) -> int:
    """Serve a packaged model on this machine.

    The archive is checked before it starts, and a command that calls the service is printed. Ctrl-C ends it.
    """
    digest = "" if sha256 is None else check_sha256(sha256)
    check_archive(archive)
    check_listen(host, port)
    console = open_console(sys.stdout)
    console.print(f"Checking {escape(str(archive))} and starting it …", soft_wrap=True)
    with serve_archive(archive, host=host, port=port, sha256=digest) as running:
        try:
            about = running.about
            console.print(f"\n[bold]{escape(about['name'])}[/bold]: {escape(about['task'])} at {running.served.url}")
            console.print(f"set digest {escape(about['setDigest'])}\n", soft_wrap=True)
            print(running.curl, flush=True)
            console.print(f"\nTry it in a browser: {running.served.url}/   Ctrl-C ends it.")
            raise running.served.wait()
        except KeyboardInterrupt:
            console.print("Stopped.")
            return ExitCode.DONE
        except Terminated as signal:
            console.print(f"Stopped by {signal}.")
            return ExitCode.TERMINATED


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
    require_libraries()
    with temporary_folder() as folder:
        package = folder / "package"
        lock = unpack(archive, package, sha256)
        about = json.loads((package / "src/slipway.json").read_text())
        with serve_package(package, folder / "home", host=host, port=port, scratch=folder) as served:
            yield Running(served, package, lock, about)


def check_archive(archive: Path) -> None:
    """Raise ``InvalidInput`` unless this is a file that begins as an archive does (RFC 1952)."""
    try:
        kind = archive.stat().st_mode
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "not a regular file"
            raise SlipwayError(Reason.INVALID_INPUT, f"{archive} is {what}, not an archive.", hint=ARCHIVE_HINT)
        with archive.open("rb") as file:
            begin = file.read(len(GZIP))
    except (FileNotFoundError, NotADirectoryError):
        if bucket := re.match(r"(s3|gs):/", str(archive)):
            text = f"{archive} is in a bucket ({bucket[1]}), and an archive is served from a file."
            raise SlipwayError(Reason.INVALID_INPUT, text, hint="Download it, and name the file.") from None
        raise SlipwayError(Reason.INVALID_INPUT, f"There is no archive {archive}.", hint=ARCHIVE_HINT) from None
    except (OSError, ValueError) as error:
        raise SlipwayError(Reason.INVALID_INPUT, f"{archive} cannot be read: {error}.", hint=ARCHIVE_HINT) from None
    if begin != GZIP:
        raise SlipwayError(Reason.INVALID_INPUT, f"{archive} is not an archive that Slipway made.", hint=ARCHIVE_HINT)


def check_sha256(text: str) -> str:
    """Return a digest as 64 lower-case hex digits. Raises ``InvalidInput`` for anything else, also for nothing."""
    digest = text.lower().removeprefix("sha256:")
    if not SHA256.fullmatch(digest):
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"--sha256 {display_text(text)!r} is not a SHA-256 digest.",
            hint="Write the 64 hex digits that `slipway run` prints for the archive.",
        )
    return digest


def unpack(archive: Path, package: Path, sha256: str) -> Lock:
    """As ``unpack_archive``; the hint is for whoever was given a file and may have the only copy."""
    try:
        return unpack_archive(read_chunks(archive), package, sha256=sha256, what=str(archive))
    except SlipwayError as error:
        if error.reason not in (Reason.DIGEST_MISMATCH, Reason.LOCK_MISMATCH):
            raise
        hint = "Use the file exactly as `slipway run` wrote it: copy it again from where that is, or make it again."
        raise SlipwayError(error.reason, error.message, hint=hint) from None
