"""When a service has been stopped, none of its processes is left: its port and its folder are free."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from steps.package.local_service import stop_service

WORKER = """
import mmap, os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
held = mmap.mmap(-1, 1 << 29)
held.write(bytes(1 << 29))
print(os.getpid(), flush=True)
signal.pause()
"""
PARENT = "import signal, subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); signal.pause()"


@pytest.mark.slow
@pytest.mark.parametrize("first", [False, True])
def test_a_stubborn_worker_ends_with_its_parent(first: bool) -> None:
    """It is killed, and the kernel has taken back its half gigabyte, before stop returns; also where its parent went first."""
    process = subprocess.Popen([sys.executable, "-c", PARENT, WORKER], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    with process.stdout as pipe:
        worker = psutil.Process(int(pipe.readline()))
        if first:
            process.kill()
            process.wait()
        stop_service(process)
        with pytest.raises(psutil.NoSuchProcess):  # as a zombie is, too, which nobody has reaped
            worker.cmdline()
