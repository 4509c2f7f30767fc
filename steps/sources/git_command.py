"""Running Git in isolation, and the reason for each of its failures.

Git runs through GitPython's ``Git.execute`` with a fixed argument list, ``--`` before every value, and the environment of
``steps.core.environment`` (by ``env -i``, because GitPython otherwise adds the caller's): no configuration of the machine or of
a user acts, no credential is asked for, no redirect is followed. It ends with this process, as ``steps.core.process`` says.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO

from steps.core.environment import for_git
from steps.core.errors import Reason, SlipwayError
from steps.core.process import read_output
from steps.net.least_rate import LeastRate
from steps.net.proxy import proxy_environment
from steps.net.retry import TransientError
from steps.net.tls import certificate_environment
from steps.sources.choose import printable

CONFIG = {
    "protocol.version": "2",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "false",
    "core.askPass": "",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "http.followRedirects": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Large files are hashed while they arrive and never held, and what is held is small: a pack can ask for any memory.
    "core.bigFileThreshold": "1m",
    "core.deltaBaseCacheLimit": "32m",
    "core.maxTreeDepth": "100",
    "pack.threads": "1",
}
MAX_PACK = 1 << 30  # bytes of any file that Git writes: a server without filters sends what is not taken, too
MAX_MEMORY = 512 << 20  # bytes of Git's own memory
# ulimit counts a file in blocks of 512 bytes, and memory in KiB; a system that has no such limit goes without.
_LIMITED = f'ulimit -f {MAX_PACK // 512} 2>/dev/null; ulimit -d {MAX_MEMORY >> 10} 2>/dev/null; exec "$@"'

# Git reports errors as text only (LC_ALL=C keeps them English): the first match gives the reason.
_FAILURES: tuple[tuple[str, Reason], ...] = (
    (r"[Oo]ut of memory|File too large|died of signal 25|malloc failed|too deep|exceeded maximum allowed tree depth",
     Reason.TOO_LARGE),
    (r"Could not resolve host|Failed to connect|Connection refused|Connection timed out|Network is unreachable"
     r"|Connection reset|early EOF|hung up|transfer closed|Operation too slow|Empty reply|gnutls_handshake|SSL_connect",
     Reason.NETWORK_UNREACHABLE),
    (r"error: (429|408|5\d\d)\b|HTTP (429|408|5\d\d)\b", Reason.SOURCE_BUSY),
    (r"could not read Username|could not read Password|Authentication failed|error: 40[13]\b|terminal prompts disabled",
     Reason.ACCESS_DENIED),
    (r"not found|error: 404\b|not valid: is this a git repository|error: 410\b|does not appear to be a git repository",
     Reason.SOURCE_NOT_FOUND),
    (r"No space left on device|Disk quota exceeded|unable to write|write error", Reason.DISK_FULL),
    (r"certificate|SSL", Reason.SOURCE_PROTOCOL),
)  # fmt: skip


class GitRedirectedError(SlipwayError):
    """The server redirected Git."""


def git_output(folder: Path, arguments: Sequence[str], *, address: str, stdin: bytes = b"") -> Generator[bytes]:
    """Run ``git`` with ``arguments`` in ``folder``, which is its home, too, and yield its standard output as it comes.

    Whoever takes no more of it closes the generator, which stops Git.

    Args:
        folder: Where Git runs.
        arguments: The command and its arguments; values from outside come after ``--``.
        address: The repository's address, for messages.
        stdin: The standard input.

    Raises:
        TransientError: ``NetworkUnreachable`` or ``SourceBusy``.
        GitRedirectedError: Where the server redirects.
        SlipwayError: ``RevisionNotFound``, ``AccessDenied``, ``SourceNotFound``, ``TooLarge``, ``DiskFull``,
            ``SourceProtocol``, or ``MissingDependency`` without the program git.
    """
    if shutil.which("git") is None:  # GitPython cannot even be imported then
        raise SlipwayError(Reason.MISSING_DEPENDENCY, "The program git is not installed.", hint="Install git.")
    command = ["/bin/sh", "-c", _LIMITED, "sh", "git"]
    for name, value in (CONFIG | _least_rate()).items():
        command += ["-c", f"{name}={value}"]
    environment = for_git(folder) | proxy_environment() | certificate_environment()

    def at_end(code: int, errors: bytes) -> None:
        if code != 0:
            raise _failure(errors.decode(errors="replace"), arguments[0], address)

    yield from read_output([*command, *arguments], environment, at_end, folder=folder, stdin=stdin, launch=_launch)


def run_git(folder: Path, arguments: Sequence[str], *, address: str, stdin: bytes = b"") -> None:
    """Run a command of Git that has nothing to say. The arguments and what it raises are those of ``git_output``."""
    for _ in git_output(folder, arguments, address=address, stdin=stdin):
        pass


def _least_rate() -> dict[str, str]:
    least = LeastRate.configured()
    return {"http.lowSpeedLimit": str(least.rate), "http.lowSpeedTime": str(round(least.seconds))}


def _launch(
    args: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str | None,
    stdin: int,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
    start_new_session: bool,
) -> subprocess.Popen[bytes]:
    """Start a process by GitPython, which opens pipes for standard output and standard error itself."""
    import git

    del stdout, stderr
    variables = [f"{name}={value}" for name, value in env.items()]
    started = git.Git(cwd).execute(
        ["env", "-i", *variables, *args], istream=stdin, as_process=True, start_new_session=start_new_session
    )
    process, started.proc = started.proc, None  # GitPython ends a process whose handle it loses
    assert process is not None, "it was just started"
    return process


def _failure(stderr: str, command: str, address: str) -> SlipwayError:
    lines = [line for line in stderr.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
    message_text = re.sub(r"^(fatal|error|remote): *", "", (lines or stderr.splitlines() or ["nothing"])[0]).rstrip(".")
    message_text = printable(message_text.encode())  # a server's message may hold a terminal's control sequences
    if re.search(r"error: 30[12378]\b", stderr):
        return GitRedirectedError(Reason.SOURCE_NOT_FOUND, f"{address} redirects to a page that is not a repository.")
    if re.search(r"not our ref|couldn't find remote ref|unadvertised object", stderr):
        return SlipwayError(Reason.REVISION_NOT_FOUND, f"{address} has no such commit: {message_text}.")
    for pattern, reason in _FAILURES:
        if re.search(pattern, stderr):
            text = f"{address}: {message_text}."
            return TransientError(reason, text) if reason.retryable else SlipwayError(reason, text)
    return SlipwayError(Reason.SOURCE_PROTOCOL, f"git {command} failed for {address}: {message_text}.")
