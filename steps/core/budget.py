"""A limit of memory and of time for a piece of work in this process, held by the operating system and by a second thread.

Work that needs more memory fails where it asks for it, instead of taking the machine's. Work that needs more time is
interrupted; where it does not return from a library's compiled code, the process can be ended.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from steps.core.lost_exceptions import noticed

LEAST_MEMORY = 1 << 30  # bytes that are always allowed: libraries reserve memory that they never use
GRACE = 60.0  # seconds between the interruption of the work and the end of the process
AGAIN = 0.1  # seconds between two looks at whether an interruption was lost


@dataclass(frozen=True)
class Budget:
    """What a piece of work may use, beyond what the process uses already: ``memory`` in bytes, and ``seconds``."""

    memory: int
    seconds: float


class TimeIsUpError(BaseException):
    """The time of a budget is over. Not an ``Exception``, so that no library takes it for a failure of its own."""


def free_memory() -> int:
    """Return how many bytes this process can use more before the machine, or its control group, has none left."""
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # no such hierarchy here, or no limit ("max")
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(free, 0)


@contextlib.contextmanager
def enforced(budget: Budget, end_process: Callable[[], None]) -> Iterator[None]:
    """Hold the work in this block to a budget.

    Memory is held by ``RLIMIT_DATA`` (setrlimit(2)), so an allocation beyond it fails: in Python with ``MemoryError``, in
    libraries with errors of their own. Where the system does not know the limit, there is none. Outside of the main thread
    time is not limited, because only the main thread can be interrupted.

    Args:
        budget: The limits.
        end_process: Called by another thread if the work goes on ``GRACE`` seconds after it was interrupted.

    Raises:
        TimeIsUpError: The time is over.
    """
    with _memory(budget.memory), _time(budget.seconds, end_process):
        yield


@contextlib.contextmanager
def _memory(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [_data_size() + max(size, LEAST_MEMORY), *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY)]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_size() -> int:
    """What ``RLIMIT_DATA`` counts already: the private writable memory of this process, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return psutil.Process().memory_info().rss


@contextlib.contextmanager
def _time(seconds: float, end_process: Callable[[], None]) -> Iterator[None]:
    main = threading.main_thread()
    if threading.current_thread() is not main or main.ident is None:
        yield
        return
    ident, done, due = main.ident, threading.Event(), threading.Event()

    def watch() -> None:
        if done.wait(seconds):
            return
        due.set()
        for _ in range(int(GRACE / AGAIN)):
            if due.is_set():
                due.clear()
                signal.pthread_kill(ident, signal.SIGXCPU)
            if done.wait(AGAIN):
                return
        end_process()

    def interrupt(signum: int, frame: object) -> None:
        del signum, frame
        if not done.is_set():
            raise TimeIsUpError

    before = signal.signal(signal.SIGXCPU, interrupt)
    thread = threading.Thread(target=watch, name="time limit", daemon=True)
    thread.start()
    try:
        with noticed(TimeIsUpError, due.set):
            yield
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGXCPU, before)
