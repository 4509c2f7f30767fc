"""A disk that fails at the n-th change: a library in front of the C library, compiled here, for processes of ours."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("failing_disk.c")


def compiled(folder: Path) -> Path:
    """The library. Skips the test where there is no C compiler, or no Linux."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not Path("/proc/self/fd").exists():
        pytest.skip("a failing disk needs a C compiler and Linux")
    library = folder / "failing_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class FailingDisk:
    """Fails changes below ``folder``: the ``at``-th, counted from 1, or with ``onwards`` each from there on; none with 0."""

    library: Path
    folder: Path
    at: int = 0
    code: int = errno.ENOSPC
    onwards: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process for which the disk fails."""
        return {
            **os.environ,
            "LD_PRELOAD": str(self.library),
            "DISK_FOLDER": str(self.folder),
            "DISK_AT": str(self.at),
            "DISK_ERRNO": str(self.code),
            "DISK_ONWARDS": str(int(self.onwards)),
            "DISK_COUNT": str(self._count),
        }

    @property
    def _count(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}-changes")

    @property
    def changes(self) -> int:
        """How many changes the last process made, or tried."""
        return int(self._count.read_text())
