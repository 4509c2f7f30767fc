"""A program that is run for its effect: it is stopped when we are, and its last words are kept for messages of failure."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

TAIL = 15  # lines


@dataclass(frozen=True)
class Ended:
    """How a program ended; ``said`` are the last ``TAIL`` lines that it wrote, of both outputs together."""

    code: int
    said: str


def run_program(
    command: Sequence[str],
    heard: Callable[[str], str],
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Run a program to its end, with nothing to read. ``heard`` gets each line, and returns it as it is to be kept."""
    tail: deque[str] = deque(maxlen=TAIL)
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
                tail.append(heard(line.rstrip()))
        except BaseException:  # stopped: leaving the block waits for the program's end
            process.terminate()
            raise
    return Ended(process.returncode, "\n".join(tail))
