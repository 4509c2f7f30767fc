"""The store in a folder on a file system that has no hard links, no locks and no rights, as FAT and some mounts have none.

A small library stands before the C library in a process of its own and refuses these calls, as the kernel would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
REFUSE = """
#include <errno.h>
#define NO(name, number) int name() { errno = number; return -1; }
NO(link, EPERM) NO(linkat, EPERM) NO(flock, ENOLCK) NO(chmod, EPERM) NO(fchmodat, EPERM)
"""
WRITERS = """
import sys, threading
from pathlib import Path
from steps.sources.download import exclusive
from steps.store.local import LocalStore
store = LocalStore(Path(sys.argv[1]))
counter = Path(sys.argv[1], "counter")
made = 0
for number in range(20):
    data = f"{number}".encode() * 1000
    made += store.put(f"blobs/{number}", [data])
    assert b"".join(store.read(f"blobs/{number}")) == data
    source = Path(sys.argv[1], "tmp", f"own-{sys.argv[2]}")
    source.write_bytes(data)
    store.put_file(f"files/{number}", source)
    store.copy_to(f"files/{number}", Path(sys.argv[1], "tmp", f"copy-{sys.argv[2]}-{number}"))
    with exclusive(counter, lambda: None):
        counter.write_text(str(int(counter.read_text()) + 1) if counter.exists() else "1")
    store.write("runs/r/x.json", data)
print(made)
"""


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, on Linux")
    folder = tmp_path_factory.mktemp("refusing")
    (folder / "refuse.c").write_text(REFUSE)
    library = folder / "refuse.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", library, folder / "refuse.c"], check=True)
    return library


@pytest.mark.hard
@pytest.mark.fault("survived")
def test_writers_at_once_publish_each_object_once(refusing: Path, tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(refusing)}
    store = tmp_path / "store"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITERS, str(store), str(number)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    outputs = [writer.communicate(timeout=60) for writer in writers]
    assert [error for _, error in outputs] == ["", "", ""]
    assert sum(int(output) for output, _ in outputs) == 20, "each object has one writer"
    assert (store / "counter").read_text() == "60"
    left = [path.name for path in store.rglob("*") if (path.is_file() and "claim" in path.name) or ".lock" in path.name]
    assert left == []
