"""A fetch that is stopped while git waits for a server that says nothing leaves no git behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.steps.core.test_process import wait_until_gone
from tests.steps.sources.running import command

pytestmark = [pytest.mark.slow, pytest.mark.fault("survived")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_no_git_is_left(tmp_path: Path, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = f"http://127.0.0.1:{silent.getsockname()[1]}/bert.git"
        process = subprocess.Popen(command(source, tmp_path / "store"), env=dict(os.environ), stderr=subprocess.PIPE)
        with process, silent.accept()[0]:  # git has connected, and waits
            found = psutil.Process(process.pid).children(recursive=True)
            assert any("git" in one.name() for one in found)
            process.send_signal(number)
            begin = time.monotonic()
            process.communicate(timeout=60)
            assert time.monotonic() - begin < 30
            wait_until_gone(found)
