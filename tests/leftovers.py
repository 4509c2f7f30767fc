"""What a test left behind: processes that still run, files in the folder for temporary files, secrets in what was written.

A process belongs to the tests if its environment, command line or working folder names the tests' folder. Every process that
a test starts has that, because the home and the folder for temporary files are in there, and so are most files of tests.
"""

from __future__ import annotations

import base64
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

GRACE_SECONDS = 5.0  # a process that was told to end may take this long, on a machine that does other things too
# Of Python and its libraries in the process that runs the tests, kept until it ends; and work that the next run continues.
KEPT = ("multiprocessing.resource_tracker", "multiprocessing.forkserver")
KEPT_FILES = ("pymp-", "torchinductor_", "slipway")


def processes(folder: Path, before: frozenset[int] = frozenset()) -> dict[int, str]:
    """Return the process id and command of every process of the tests in ``folder`` that is not in ``before``."""
    found = {}
    for pid in set(psutil.pids()) - before - {os.getpid()}:
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            command = " ".join(process.cmdline())
            of_tests = f"{folder}/" in f"{command} {process.cwd()}/ " + " ".join(process.environ().values())
        except (psutil.Error, OSError):  # it ended meanwhile, or is somebody else's
            continue
        if of_tests and not any(kept in command for kept in KEPT):
            found[pid] = command
    return found


def orphans(folder: Path, before: frozenset[int]) -> list[str]:
    """Wait for processes to end; end those that do not, and return their commands."""
    until = time.monotonic() + GRACE_SECONDS
    while (found := processes(folder, before)) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in found:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            continue
    return sorted(found.values())


def temporary_files(folder: Path) -> frozenset[str]:
    """Names in the folder for temporary files, of files, folders and sockets."""
    return frozenset(name for name in os.listdir(folder) if not name.startswith(KEPT_FILES))


@dataclass
class Canary:
    """A secret that a test plants somewhere, and that must stand nowhere else afterwards.

    It is made of letters and digits, so percent-encoding, JSON and HTML leave it as it is; base64 is looked for as well.
    """

    secret: str = field(default_factory=lambda: "canary" + secrets.token_hex(12))
    planted: set[Path] = field(default_factory=set)

    def plant(self, path: Path, text: str | None = None) -> Path:
        """Say that ``path``, a file or a folder, may hold the secret; with ``text``, write that there."""
        if text is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.planted.add(path.absolute())
        return path

    @property
    def forms(self) -> list[bytes]:
        """The secret as it is, and in the three forms that base64 gives it inside of a longer text."""
        plain = self.secret.encode()
        inside = [base64.b64encode(bytes(skip) + plain)[-(-8 * skip // 6) : -4] for skip in range(3)]
        return [plain, *inside]

    def found_in(self, text: str | bytes) -> bool:
        """Whether the secret stands in a text."""
        data = text.encode() if isinstance(text, str) else text
        return any(form in data for form in self.forms)

    def leaks(self, *folders: Path) -> list[str]:
        """Return every path under ``folders`` whose name or content has the secret, but for those where it was planted."""
        found = []
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if self.planted & {path.absolute(), *path.absolute().parents}:
                    continue
                if self.found_in(path.name) or (path.is_file() and not path.is_symlink() and self.found_in(path.read_bytes())):
                    found.append(str(path))
        return found
