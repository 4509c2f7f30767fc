"""Run a program for its effect: it is stopped when this process is, and its last lines are kept for error messages."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

KEPT_LINES = 15


@dataclass(frozen=True)
class FinishedProgram:
    """How a program ended.

    Attributes:
        exit_code: As ``subprocess`` has it: negative for a signal.
        last_lines: The last ``KEPT_LINES`` lines that it wrote, of standard output and standard error together.
    """

    exit_code: int
    last_lines: str


def run_program(
    command: Sequence[str],
    on_line: Callable[[str], str],
    environment: Mapping[str, str] | None = None,
) -> FinishedProgram:
    """Run a program to its end, with an empty standard input.

    Args:
        command: The program and its arguments.
        on_line: Gets each line of output as it is written, and returns it as it is to be kept (without secrets, say).
        environment: The program's environment; None: that of this process.

    Returns:
        The exit code and the last lines. Whatever is raised meanwhile (Ctrl-C, SIGTERM) stops the program first.
    """
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        try:
            for line in process.stdout:
                tail.append(on_line(line.rstrip()))
        except BaseException:  # stopped: leaving the block waits for the program's end
            process.terminate()
            raise
    return FinishedProgram(process.returncode, "\n".join(tail))
