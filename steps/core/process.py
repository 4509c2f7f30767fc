"""A program that is run for its effect: it is stopped when we are, and its last words are kept for messages of failure."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

KEPT_LINES = 15  # lines


@dataclass(frozen=True)
class FinishedProgram:
    """How a program ended; ``last_lines`` are the last ``KEPT_LINES`` lines that it wrote, of both outputs together."""

    exit_code: int
    last_lines: str


def run_program(
    command: Sequence[str],
    on_line: Callable[[str], str],
    environment: Mapping[str, str] | None = None,
) -> FinishedProgram:
    """Run a program to its end, with nothing to read. ``on_line`` gets each line, and returns it as it is to be kept."""
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
