"""A program ends with whoever started it, however that ends, and nothing that it started is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from steps.core.environment import SYSTEM, chosen
from steps.core.process import capture, kill_all, run_program, start

ENVIRONMENT = chosen(*SYSTEM)
# Says its process id and those of its children, one of which ignores SIGTERM, and waits.
FAMILY = """
trap '' HUP
sleep 1000 & one=$!
(trap '' TERM; exec sleep 1000) & two=$!
echo $$ $one $two
wait
"""
OWNER = """
import subprocess, sys, time
from steps.core.process import start
program = start(["sh", "-c", sys.argv[1]], environment={"PATH": sys.argv[2]}, stdout=sys.stdout.buffer, grace=0.5)
time.sleep(1000)
"""


def wait_until_gone(processes: Sequence[psutil.Process], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            return
        time.sleep(0.02)
    raise AssertionError(f"still running: {processes}")


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another Python that has started a family of programs."""
    command = [sys.executable, "-c", OWNER, FAMILY, os.environ["PATH"]]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    ) as owner:
        yield owner
        owner.kill()


def members(owner: subprocess.Popen[bytes]) -> list[psutil.Process]:
    assert owner.stdout is not None
    return [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]


@pytest.mark.fault("survived")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
def test_programs_end_with_their_owner(owner: subprocess.Popen[bytes], number: signal.Signals) -> None:
    found = members(owner)
    assert len(found) == 3
    owner.send_signal(number)
    owner.wait()
    wait_until_gone(found)


def test_leaving_the_block_ends_the_family() -> None:
    with start(["sh", "-c", FAMILY], environment=ENVIRONMENT, stdout=subprocess.PIPE, grace=0.2) as program:
        assert program.process.stdout is not None
        found = [psutil.Process(int(pid)) for pid in program.process.stdout.readline().split()]
        assert {process.pid for process in found} < {process.pid for process in program.members()}
    assert program.members() == []
    wait_until_gone(found)


def test_all_programs_are_killed_at_once() -> None:
    program = start(["sh", "-c", "trap '' TERM; echo ready; sleep 1000"], environment=ENVIRONMENT, stdout=subprocess.PIPE)
    assert program.process.stdout is not None
    program.process.stdout.readline()
    found = program.members()
    kill_all()
    wait_until_gone(found)
    program.stop()


def test_what_a_program_leaves_ends_too() -> None:
    done = capture(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"], ENVIRONMENT)
    assert done.exit_code == 0
    left = int(done.stdout)
    if psutil.pid_exists(left):
        wait_until_gone([psutil.Process(left)])


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", -9), ("kill -15 $$", -15)])
def test_the_exit_code_is_its_own(script: str, code: int) -> None:
    assert capture(["sh", "-c", script], ENVIRONMENT).exit_code == code


def test_the_environment_is_the_one_given() -> None:
    assert capture(["env"], {"PATH": os.environ["PATH"], "A": "it's 1\n$B"}).stdout.decode().splitlines() == [
        *("A=it's 1", "$B"),
        f"PATH={os.environ['PATH']}",
    ]


def test_arguments_and_input_arrive_unchanged(tmp_path: Path) -> None:
    words = ["a b", "", "$HOME `x` '\"", "-n", "--", "*"]
    script = "import sys; sys.stdout.buffer.write(repr(sys.argv[1:]).encode() + sys.stdin.buffer.read())"
    done = capture([sys.executable, "-c", script, *words], ENVIRONMENT, stdin=b"\0" * 300_000, folder=tmp_path)
    assert done.stdout == repr(words).encode() + b"\0" * 300_000
    assert list(tmp_path.iterdir()) == []


def test_a_program_too_slow_is_stopped() -> None:
    begin = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        capture(["sleep", "1000"], ENVIRONMENT, timeout=0.1)
    assert time.monotonic() - begin < 5


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        start(["no-such-program"], environment=ENVIRONMENT)


def test_lines_arrive_and_the_last_are_kept() -> None:
    lines: list[str] = []

    def keep(line: str) -> str:
        lines.append(line)
        return line.upper()

    done = run_program(["sh", "-c", "for i in $(seq 40); do echo line $i; done; exit 3"], keep, ENVIRONMENT)
    assert len(lines) == 40
    assert done.exit_code == 3
    assert done.last_lines.splitlines() == [f"LINE {number}" for number in range(26, 41)]


def test_an_error_while_it_runs_stops_it() -> None:
    def stop(line: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_program(["sh", "-c", "echo; sleep 1000"], stop, ENVIRONMENT)
