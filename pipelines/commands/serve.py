"""``slipway serve ARCHIVE``: a packaged service on this machine, checked before it starts."""

from __future__ import annotations

import contextlib
import json
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.core.digest import read_chunks
from steps.core.documents import GoldenRequest
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock
from steps.frameworks.libraries import require_libraries
from steps.package.local_service import RunningService, form_value, serve
from steps.package.unpack import unpack_archive


@dataclass(frozen=True)
class Running:
    """A service that is up, and what its package says of it."""

    served: RunningService
    package: Path
    lock: Lock
    about: dict[str, Any]

    @property
    def curl(self) -> str:
        """A command line that asks the service its golden request."""
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
    """Unpack an archive, check it against its lock (and ``sha256``, if given), serve it, and clean up afterwards."""
    if not archive.is_file():
        raise SlipwayError(Reason.INVALID_INPUT, f"There is no archive {archive}.", hint="`slipway run` prints its place.")
    require_libraries()
    with tempfile.TemporaryDirectory(prefix="slipway-serve-") as folder:
        package = Path(folder, "package")
        lock = unpack_archive(read_chunks(archive), package, sha256=sha256, what=str(archive))
        about = json.loads((package / "src/slipway.json").read_text())
        with serve(package, Path(folder, "home"), host=host, port=port) as served:
            yield Running(served, package, lock, about)
