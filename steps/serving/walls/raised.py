"""The walls put up: around a function that opens a model, or around a service for as long as it runs.

Two walls hold one list (``allowed``): Landlock in the kernel, where there is one that has it, and Python's audit hook. What
cannot be put up is left out: the work goes on, and ``Walls`` says what stands.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from .allowed import Allowed
from .audit_hook import open_process, wall_off_process, wall_off_thread
from .landlock import restrict_thread

Result = TypeVar("Result")
# An operator who sets one of these has a service send its traces somewhere.
NETWORK_VARIABLES = ("BENTOML_CONFIG", "BENTOML_CONFIG_OPTIONS", "OTEL_EXPORTER_OTLP_ENDPOINT")
WRITABLE_VARIABLES = ("BENTOML_HOME", "PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")


@dataclass(frozen=True)
class Walls:
    """Which walls stand. ``landlock`` is the version of the kernel's interface (ABI); 0: there is none."""

    landlock: int
    audit_hook: bool

    def names(self) -> list[str]:
        """The walls in words, the strongest first."""
        return [f"Landlock (ABI {self.landlock})"] * bool(self.landlock) + ["audit hook"] * self.audit_hook


_standing: Walls | None = None


def standing() -> list[str]:
    """The names of the walls around this service; none before its model is opened."""
    return _standing.names() if _standing else []


def open_model_behind_walls(work: Callable[[], Result], folder: Path, temporary: Path) -> tuple[Result, Walls]:
    """Do ``work`` in a thread that can open nothing else than a model; this thread waits, and is not restricted.

    If a signal raises an exception here, it is raised in the other thread too, so that the work ends.

    Args:
        work: Opens the model.
        folder: The model's files.
        temporary: The folder for temporary files meanwhile; it is made.

    Returns:
        What ``work`` returned, and the walls that stood. Raises what ``work`` raised.
    """
    temporary.mkdir(parents=True, exist_ok=True)
    # The wall is around all threads that begin from now on: the other one may start some. Those of now are Slipway's own.
    exempt = frozenset(each.ident for each in threading.enumerate() if each.ident)
    job = _Job(work, Allowed(own=(str(folder),), writable=(str(temporary),)))
    before = tempfile.tempdir
    thread = threading.Thread(target=job.run, name="model", daemon=True)
    try:
        tempfile.tempdir = str(temporary)
        wall_off_process(job.allowed, exempt=exempt)
        thread.start()
        _wait(thread, job.ended)
    finally:
        open_process()
        tempfile.tempdir = before
    if job.error is not None:
        raise job.error
    [result] = job.results
    return result, Walls(job.landlock, audit_hook=True)


class _Job(Generic[Result]):
    """Work for another thread, and how it ended."""

    def __init__(self, work: Callable[[], Result], allowed: Allowed) -> None:
        self._work, self.allowed = work, allowed
        self.landlock = 0
        self.ended = threading.Event()
        self.results: list[Result] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        with contextlib.suppress(BaseException):  # a second one, from the thread that waits, which knows of it
            try:
                self.landlock = restrict_thread(self.allowed)
                self.results.append(self._work())
            except BaseException as error:  # raised by the thread that waits
                self.error = error
        self.ended.set()


def _wait(thread: threading.Thread, ended: threading.Event) -> None:
    """Wait for a thread. What is raised here meanwhile is raised there, again and again: libraries swallow it now and then.

    ``Thread.join`` would not do: interrupted by an exception, it takes the thread for ended (CPython 3.11).
    """
    try:
        while not ended.wait(60):
            pass
    except BaseException as error:
        while not ended.is_set():
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(type(error)))
            ended.wait(2)
        raise


def wall_off_service(package: Path) -> None:
    """Close this process to all but its package, before it opens its model and starts threads. It stays closed.

    In a thread other than the main one, as in a test, only that thread and what it starts are closed.

    Args:
        package: The folder of ``service.py``; BentoML also reads what describes it, beside that folder.
    """
    global _standing
    main = threading.current_thread() is threading.main_thread()
    writable = [os.path.abspath(path) for name in WRITABLE_VARIABLES if (path := os.environ.get(name))]
    if not os.environ.get("BENTOML_HOME"):
        writable.append(os.path.join(os.path.expanduser("~"), "bentoml"))  # its default
    temporary = _temporary_folder(private=main)
    allowed = Allowed(
        own=(str(package.parent if (package.parent / "bento.yaml").exists() else package),),
        writable=(*temporary, *writable),
        parents=tuple(os.path.dirname(path) for path in temporary),
        connect=any(os.environ.get(name) for name in NETWORK_VARIABLES),
    )
    landlock = restrict_thread(allowed)
    (wall_off_process if main else wall_off_thread)(allowed)
    _standing = Walls(landlock, audit_hook=True)


def _temporary_folder(*, private: bool) -> tuple[str, ...]:
    """The folder for this process's temporary files, one of its own; none where nothing can be written."""
    try:
        if not private:
            return (tempfile.gettempdir(),)
        tempfile.tempdir = tempfile.mkdtemp(prefix="slipway-service-")
    except OSError:
        return ()
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)
    return (tempfile.tempdir,)
