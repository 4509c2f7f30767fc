"""The one way to start a program: git, pip, a builder, a step, a packaged service.

Whatever becomes of Slipway, a program that it started ends with it, also where Slipway is killed or its terminal is closed:

- The program runs in a session of its own, so neither Ctrl-C nor the end of the terminal reaches it; Slipway stops it.
- A small shell watches a pipe whose other end only Slipway holds. When that end is closed, by Slipway or by the kernel, the
  shell sends the program's process group SIGTERM and, where that is not enough, SIGKILL. ``PR_SET_PDEATHSIG`` would do this for
  the program alone, not for what it started, and only on Linux.
- A program that itself starts programs in sessions of their own has to end them on SIGTERM: steps do, in this same way.

The environment is always given, from the lists in ``steps.core.environment``; the working folder is not searched for modules.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import psutil

from steps.core.errors import from_os_error

KEPT_LINES = 15
MAX_LINE = 64 << 10  # bytes of one line of output; a longer one is taken for several
KEPT_ERRORS = 64 << 10  # bytes of standard error
STOP_SECONDS = 10.0  # that a program gets to end in good order
CANNOT_START = (126, 127)  # exit codes of a shell that could not start a program

# $1 is the program's standard input, $2 the tenths of a second until SIGKILL, $3 a folder to remove when Slipway was killed, or
# nothing; the pipe is standard input at first. The shell becomes the
# program, so the program has the process id that the caller knows. `$$` is that id in the shell that watches, too.
_WATCHED = """
exec 9<&0 </dev/null
input=$1 tenths=$2 folder=$3
shift 3
(
  (
    trap '' HUP INT TERM
    read -r _ <&9
    kill -s TERM -- -$$
    while [ "$tenths" -gt 0 ] && kill -s 0 $$; do sleep 0.1; tenths=$((tenths - 1)); done
    kill -s KILL $$
    if [ -n "$folder" ]; then rm -rf -- "$folder"; rmdir -- "${folder%/*}"; fi
    kill -s KILL -- -$$
  ) >/dev/null 2>&1 &
)
unset PWD OLDPWD SHLVL
exec "$@" <"$input" 9<&-
"""


class Launch(Protocol):
    """What starts a process: ``subprocess.Popen``, or a library that calls it."""

    def __call__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | None,
        stdin: int,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
        start_new_session: bool,
    ) -> subprocess.Popen[bytes]:
        """Start ``args``, with the arguments of ``subprocess.Popen``."""
        ...


_running: set[Program] = set()
_lock = threading.RLock()  # a handler of signals may need it while the same thread has it


class Program:
    """A program that runs, and everything that it started. As a context manager it is stopped when the block ends."""

    def __init__(self, process: subprocess.Popen[bytes], lifeline: int, grace: float) -> None:
        """Take over a process that was started in a session of its own; ``lifeline`` is our end of the pipe."""
        self.process, self._lifeline, self._grace = process, lifeline, grace
        with _lock:
            _running.add(self)

    @property
    def pid(self) -> int:
        """The id of the process, of its process group, and of its session."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """As ``subprocess`` has it: negative for a signal, None while the program runs."""
        return self.process.returncode

    def poll(self) -> int | None:
        """Return the exit code if the program has ended, else None."""
        code = self.process.poll()
        if code is not None:
            self._finish()
        return code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the program's end and return its exit code. Raises ``subprocess.TimeoutExpired``."""
        code = self.process.wait(timeout)
        self._finish()
        return code

    def stop(self) -> None:
        """End the program and its group: by SIGTERM, after its time by SIGKILL; wait until all of them are gone."""
        if self.process.poll() is None:
            self._signal(signal.SIGTERM)
            self._drain()
        self.kill()
        # A killed process lives until the kernel has taken its memory back: only then are its ports and its folder free.
        end = time.monotonic() + STOP_SECONDS
        while self.members() and time.monotonic() < end:
            time.sleep(0.01)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _drain(self) -> None:
        """Wait for the program's end and read what it still writes: a full pipe would hold it up."""
        end = time.monotonic() + self._grace
        while self.process.poll() is None and time.monotonic() < end:
            with contextlib.suppress(subprocess.TimeoutExpired, ValueError):  # ValueError: we closed the pipe ourselves
                self.process.communicate(timeout=0.1)
                continue
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.1)

    def kill(self) -> None:
        """End the program and its group by SIGKILL, at once."""
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self._finish()

    def members(self) -> list[psutil.Process]:
        """The living processes of the program's group. A zombie is not among them: it holds no resources."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError, psutil.Error):
                if os.getpgid(process.pid) == self.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def _signal(self, number: signal.Signals) -> None:
        # The shell that watches is in the group until we close the pipe or kill it, so nobody else can have this id.
        if self._lifeline >= 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _finish(self) -> None:
        """End what the program left in its group, and the shell that watches."""
        self._signal(signal.SIGKILL)
        with _lock:
            _running.discard(self)
            lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path | None = None,
    stdin: Path | str = os.devnull,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
    grace: float = STOP_SECONDS,
    scratch: Path | None = None,
    launch: Launch = subprocess.Popen,
) -> Program:
    """Start a program that ends with this process, together with everything that it starts in its session.

    Args:
        command: The program, looked up in the ``PATH`` of ``environment``, and its arguments.
        environment: The program's whole environment.
        folder: Where it runs; None: where this process does.
        stdin: The file that is its standard input.
        stdout: As ``subprocess.Popen`` takes it.
        stderr: Likewise.
        grace: How many seconds it gets between SIGTERM and SIGKILL.
        scratch: A folder that is removed after the program where this process was killed and cannot do it.
        launch: Starts the process.

    Raises:
        FileNotFoundError: There is no such program.
    """
    program = shutil.which(command[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise FileNotFoundError(2, "There is no such program", command[0])
    watched, lifeline = os.pipe()  # closed on exec, so no other program can hold it open
    try:
        process = launch(
            ["/bin/sh", "-c", _WATCHED, "sh", str(stdin), str(round(grace * 10)), str(scratch or ""), program, *command[1:]],
            env=environment,
            cwd=None if folder is None else str(folder),
            stdin=watched,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        return Program(process, lifeline, grace)
    except BaseException:  # also a signal's, after the process was started: it ends then, because the pipe is closed
        os.close(lifeline)
        raise
    finally:
        os.close(watched)


def kill_all() -> None:
    """End all programs of this process by SIGKILL, at once. Made for a handler of signals: it waits for no lock."""
    programs = list(_running)
    for program in programs:
        program._signal(signal.SIGKILL)
    end = time.monotonic() + STOP_SECONDS
    for program in programs:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(program.pid, os.WNOHANG) == (0, 0) and time.monotonic() < end:
                time.sleep(0.01)


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
    command: Sequence[str], on_line: Callable[[str], str], environment: Mapping[str, str], *, folder: Path | None = None
) -> FinishedProgram:
    """Run a program to its end, with an empty standard input.

    Args:
        command: The program and its arguments.
        on_line: Gets each line of output as it is written, and returns it as it is to be kept (without secrets, say).
        environment: The program's whole environment.
        folder: Where it runs; None: where this process does.

    Returns:
        The exit code and the last lines. Whatever is raised meanwhile (Ctrl-C, SIGTERM) stops the program first.

    Raises:
        FileNotFoundError: There is no such program.
    """
    tail: deque[str] = deque(maxlen=KEPT_LINES)
    with start(command, environment=environment, folder=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as program:
        assert program.process.stdout is not None, "it is a pipe"
        while line := program.process.stdout.readline(MAX_LINE):
            tail.append(on_line(line.decode(errors="replace").rstrip()))
        return FinishedProgram(program.wait(), "\n".join(tail))


def read_output(
    command: Sequence[str],
    environment: Mapping[str, str],
    at_end: Callable[[int, bytes], None],
    *,
    folder: Path | None = None,
    stdin: bytes = b"",
    launch: Launch = subprocess.Popen,
) -> Generator[bytes]:
    """Run a program and yield its standard output as it comes, so that no output fills the memory.

    Args:
        command: The program and its arguments.
        environment: The program's whole environment.
        at_end: Gets the exit code and the first ``KEPT_ERRORS`` bytes of standard error; it may raise.
        folder: Where it runs; None: where this process does.
        stdin: Its standard input.
        launch: Starts the process.

    Raises:
        FileNotFoundError: There is no such program.
    """
    with _with_pipes(command, environment, folder, stdin, launch) as program:
        stdout, stderr = program.process.stdout, program.process.stderr
        assert stdout is not None, "it is a pipe"
        assert stderr is not None, "it is a pipe"
        errors = bytearray()

        def drain() -> None:
            with contextlib.suppress(ValueError, OSError):  # closed by whoever gives the program up
                while chunk := os.read(stderr.fileno(), KEPT_ERRORS):
                    errors.extend(chunk[: KEPT_ERRORS - len(errors)])

        drainer = threading.Thread(target=drain, name="stderr", daemon=True)
        drainer.start()
        while chunk := os.read(stdout.fileno(), MAX_LINE):
            yield chunk
        code = program.wait()
        drainer.join()
        at_end(code, bytes(errors))


@contextlib.contextmanager
def _with_pipes(
    command: Sequence[str], environment: Mapping[str, str], folder: Path | None, stdin: bytes, launch: Launch
) -> Iterator[Program]:
    """A program that reads ``stdin`` and writes standard output and standard error to pipes."""
    with (
        _as_file(stdin, folder) as given,
        start(
            command,
            environment=environment,
            folder=folder,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            launch=launch,
        ) as program,
    ):
        yield program


@contextlib.contextmanager
def _as_file(data: bytes, folder: Path | None) -> Iterator[str]:
    """The path of a file with this data: with a pipe, program and caller could wait for each other."""
    if not data:
        yield os.devnull
        return
    descriptor, name = tempfile.mkstemp(prefix="slipway-", dir=folder)
    try:
        try:
            with open(descriptor, "wb") as feed:
                feed.write(data)
        except OSError as error:
            raise from_os_error(error, f"Cannot write {len(data)} bytes to {name}") from error
        yield name
    finally:
        Path(name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Captured:
    """How a program ended, and all that it wrote."""

    exit_code: int
    stdout: bytes
    stderr: bytes


def capture(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    folder: Path | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
    launch: Launch = subprocess.Popen,
) -> Captured:
    """Run a program to its end and return what it wrote.

    Args:
        command: The program and its arguments.
        environment: The program's whole environment.
        folder: Where it runs; None: where this process does.
        stdin: Its standard input.
        timeout: Seconds after which it is stopped.
        launch: Starts the process.

    Raises:
        FileNotFoundError: There is no such program.
        subprocess.TimeoutExpired: It was stopped because it took longer than ``timeout``.
    """
    with _with_pipes(command, environment, folder, stdin, launch) as program:
        stdout, stderr = program.process.communicate(timeout=timeout)
        return Captured(program.wait(), stdout, stderr)
