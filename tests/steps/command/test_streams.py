"""A command whose standard input, output or error is closed, full, unread, not blocking, or of another encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from steps.core.errors import ExitCode

PROGRAM = """
import sys
from steps.command.process import run_to_exit_code
from steps.command.streams import open_streams
open_streams()
def work():
    print({text})
    return 0
sys.exit(run_to_exit_code(work))
"""
ROOT = Path(__file__).parents[3]


def start(redirections: str, text: str = "'x' * 10_000", **environment: str) -> subprocess.CompletedProcess[str]:
    """A command that prints a text, written as an expression; started by a shell with these redirections."""
    names = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SHOWN": PROGRAM.format(text=text), **environment}
    line = f'"{sys.executable}" -c "$SHOWN" {redirections}; echo "exit code $?" >&9'
    return subprocess.run(["bash", "-c", f"exec 9>&1; {line}"], env=names, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    "redirections",
    [
        "<&- >&- 2>&-",
        *(pytest.param(each, marks=pytest.mark.hard) for each in (">&-", "<&-", "2>&-", "2>/dev/full", "2</dev/null")),
    ],
)
def test_closed_streams_are_no_hindrance(redirections: str) -> None:
    done = start(redirections)
    assert done.stdout.endswith("exit code 0\n")
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.fault("survived")
@pytest.mark.parametrize(
    ("redirections", "code", "said"),
    [
        (">/dev/full", ExitCode.RESOURCES, "error: DiskFull: Cannot write standard output: No space left on device\n"),
        ("1</dev/null", ExitCode.ENVIRONMENT, "error: SystemRefused: Cannot write standard output: Bad file descriptor\n"),
        ("> >(exec true)", ExitCode.INTERRUPTED, "error: Interrupted: The reader of standard output has ended.\n"),
    ],
)
@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.hard)])
def test_an_output_that_fails_has_a_reason(redirections: str, code: ExitCode, said: str, unbuffered: str) -> None:
    done = start(redirections, "'x' * 200_000", PYTHONUNBUFFERED=unbuffered)
    assert done.stdout == f"exit code {code}\n"
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 2


@pytest.mark.slow
@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        pytest.param({"PYTHONIOENCODING": "ascii"}, "\\u6a21\\u578b", marks=pytest.mark.hard),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "\\u6a21\\u578b"),
        pytest.param({"LC_ALL": "C"}, "模型", marks=pytest.mark.hard),
        pytest.param({"LC_ALL": "C.UTF-8"}, "模型", marks=pytest.mark.hard),
    ],
)
def test_any_locale_takes_any_text(environment: dict[str, str], shown: str) -> None:
    done = start("", ascii("模型 \udcff"), **environment)
    assert done.stdout == f"{shown} \\udcff\nexit code 0\n"
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.fault("survived")
def test_a_pipe_that_does_not_block_is_written() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    program = PROGRAM.format(text="'x' * 1_000_000")
    with subprocess.Popen([sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, cwd=ROOT) as process:
        os.close(writing)
        with open(reading, "rb") as output:
            assert len(output.read()) == 1_000_001
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0
