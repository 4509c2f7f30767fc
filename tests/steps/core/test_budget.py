"""A budget holds work to its memory and its time, and leaves no limit behind."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from steps.core.budget import Budget, TimeIsUpError, enforced, free_memory

GIB = 1 << 30
linux = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mapped memory on Linux only")


def never() -> None:
    pytest.fail("the process was to be ended")


def swallow_errors() -> None:
    """Go on for ever, as a library does that takes every error for its own."""
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


@linux
@pytest.mark.fault("survived")
def test_memory_beyond_the_budget_is_refused() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with enforced(Budget(memory=GIB, seconds=60), never), pytest.raises(MemoryError):
        bytearray(4 * GIB)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with enforced(Budget(memory=GIB, seconds=60), never):
        assert len(bytearray(1 << 20)) == 1 << 20


@pytest.mark.fault("survived")
def test_work_beyond_its_time_is_interrupted() -> None:
    handler = signal.getsignal(signal.SIGXCPU)
    begin = time.monotonic()
    with pytest.raises(TimeIsUpError), enforced(Budget(memory=GIB, seconds=0.05), never):
        swallow_errors()
    assert time.monotonic() - begin < 5
    assert signal.getsignal(signal.SIGXCPU) == handler
    assert not [thread for thread in threading.enumerate() if thread.name == "time limit"]


def test_work_within_its_budget_is_left_alone() -> None:
    with enforced(Budget(memory=GIB, seconds=0.05), never):
        pass
    time.sleep(0.1)


def test_another_thread_is_not_interrupted() -> None:
    ended: list[bool] = []

    def work() -> None:
        with enforced(Budget(memory=GIB, seconds=0.01), never):
            time.sleep(0.05)
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


@pytest.mark.fault("survived")
def test_work_that_never_returns_ends_the_process() -> None:
    code = (
        "import os, steps.core.budget as budget\n"
        "budget.GRACE = 0.05\n"
        "with budget.enforced(budget.Budget(1 << 30, 0.05), lambda: os._exit(7)):\n"
        # Deaf to its interruption, as compiled code is.
        "    import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
        "    while True: pass\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 7


def test_free_memory_is_that_of_this_machine() -> None:
    assert 0 < free_memory() < 1 << 50
