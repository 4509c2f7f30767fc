"""A command that is stopped, twice, or whose terminal is closed: it ends, and nothing that it started or wrote is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from steps.core.errors import ExitCode
from tests.steps.core.test_process import wait_until_gone

pytestmark = [pytest.mark.slow, pytest.mark.fault("survived")]

# Starts a program that ignores SIGTERM for a while, makes a folder, and says where both are.
COMMAND = """
import subprocess, sys
from pathlib import Path
from steps.command.process import run_to_exit_code
from steps.core.folders import private_folder
from steps.core.process import start

def work():
    with private_folder(Path(sys.argv[1])) as folder:
        (folder / "half").write_text("written")
        program = start(["sh", "-c", "trap '' TERM; echo $$; sleep 1000"], environment={"PATH": sys.argv[2]},
                        stdout=subprocess.PIPE, grace=float(sys.argv[3]))
        with program:
            print(program.process.stdout.readline().decode(), flush=True)
            program.wait()

sys.exit(run_to_exit_code(work))
"""


@contextmanager
def running(folder: Path, grace: float, *before: str) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    command = [*before, sys.executable, "-c", COMMAND, str(folder), os.environ["PATH"], str(grace)]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stdout is not None
        try:
            yield process, psutil.Process(int(process.stdout.readline()))
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_one_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path / "work", 0.2) as (process, program):
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert process.returncode == (ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)
    assert ("Ctrl-C" if number == signal.SIGINT else number.name) in error
    wait_until_gone([program])
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path / "work", 1000) as (process, program):
        while process.poll() is None:  # the first stops the program, which does not stop
            process.send_signal(number)
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        _, error = process.communicate()
    assert process.returncode == (ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)
    assert error.endswith("Stopped at once by a second signal.\n")
    wait_until_gone([program])
    assert list((tmp_path / "work").iterdir()) == []


def test_nohup_keeps_a_command_alive(tmp_path: Path) -> None:
    with running(tmp_path / "work", 0.2, "nohup") as (process, program):
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert "SIGTERM" in error
    wait_until_gone([program])
