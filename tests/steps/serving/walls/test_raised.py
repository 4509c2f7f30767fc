"""Behind the walls: what a model is made of can be opened, nothing else, whoever tries."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from steps.core.errors import Terminated
from steps.serving.walls.landlock import landlock_abi
from steps.serving.walls.raised import Walls, open_model_behind_walls

needs_landlock = pytest.mark.skipif(not landlock_abi(), reason="this kernel has no Landlock")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    return folder


def behind(model: Path, work: Callable[[], object]) -> object:
    return open_model_behind_walls(work, model, model.parent / "tmp")[0]


def in_c(path: str | Path) -> int:
    """What a compiled library gets: 0, or the number of its error."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.open(os.fsencode(path), os.O_RDONLY)
    if descriptor < 0:
        return ctypes.get_errno()
    os.close(descriptor)
    return 0


CLOSED = [
    "secret",
    "model/link",
    "model/../secret",
    ".",
    "/etc/hostname",
    "/etc/shadow",
    "/proc/self/environ",
    "/proc/1/environ",
]


@pytest.mark.fault("refused")
@pytest.mark.parametrize("path", CLOSED)
def test_other_files_cannot_be_opened(path: str, model: Path) -> None:
    def attempt() -> None:
        Path(model.parent, path).open().close()

    with pytest.raises(PermissionError, match=r"closed while a model is open|Permission denied"):  # the hook, or the kernel
        behind(model, attempt)


@needs_landlock
@pytest.mark.fault("refused")
@pytest.mark.parametrize("path", [path for path in CLOSED if os.path.exists(path) or not path.startswith("/")])
def test_compiled_libraries_cannot_open_them_either(path: str, model: Path) -> None:
    assert behind(model, lambda: in_c(model.parent / path)) == errno.EACCES


@needs_landlock
@pytest.mark.fault("refused")
def test_threads_of_the_library_are_closed_too(model: Path) -> None:
    def work() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(in_c, model.parent / "secret").result()

    assert behind(model, work) == errno.EACCES


@pytest.mark.fault("accepted")
def test_what_a_library_needs_can_be_opened(model: Path) -> None:
    def work() -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "a").mkdir()
            Path(folder, "a/b").write_text("b")
            Path(folder, "a/b").rename(Path(folder, "c"))
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
        Path("/dev/null").write_text("x")
        readable: list[str | Path] = [
            os.__file__,
            sys.executable,
            pytest.__file__,
            model / "config.json",
            "/etc/passwd",
            "/dev/urandom",
        ]
        readable += ["/proc/self/status", f"/proc/{os.getpid()}/stat", "/proc/meminfo", "/sys/devices/system/cpu/online"]
        found = [path for path in readable if os.path.exists(path)]
        for path in found:
            with open(path, "rb") as file:
                file.read(10)
        os.listdir(model)
        return [str(path) for path in found if in_c(path)]

    assert behind(model, work) == []


@pytest.mark.fault("refused")
def test_nothing_is_written_started_or_called(model: Path) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: (model / "config.json").write_text("x"),
        lambda: (model / "config.json").unlink(),
        lambda: (model.parent / "new").mkdir(),
        lambda: (model / "config.json").rename(model.parent / "stolen"),
        lambda: os.listdir(model.parent),
        lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        lambda: os.system("true"),
        lambda: socket.create_connection(("127.0.0.1", 9)),
    ]
    for attempt in attempts:
        with pytest.raises(PermissionError):
            behind(model, attempt)
    assert (model / "config.json").read_text() == "{}"


def test_the_caller_is_not_closed_in(model: Path) -> None:
    before = tempfile.gettempdir()
    _, walls = open_model_behind_walls(lambda: None, model, model.parent / "tmp")
    assert (model / "link").read_text() == "secret"
    assert in_c(model.parent / "secret") == 0
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
    assert tempfile.gettempdir() == before
    assert walls == Walls(landlock_abi(), audit_hook=True)
    assert walls.names()[-1] == "audit hook"


def test_errors_of_the_work_reach_the_caller(model: Path) -> None:
    def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        behind(model, fail)


@pytest.mark.fault("survived")
def test_a_signal_ends_the_work(model: Path) -> None:
    ended = threading.Event()

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            while True:
                time.sleep(0.01)
        finally:
            ended.set()

    before = signal.signal(signal.SIGUSR1, terminate)
    try:
        with pytest.raises(Terminated):
            behind(model, work)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended.is_set()
