"""Running Git in isolation, and the reason for each of its failures.

Git runs through GitPython's ``Git.execute`` with a fixed argument list, ``--`` before every value, and the environment of
``steps.core.environment`` (by ``env -i``, because GitPython otherwise adds the caller's): no configuration of the machine or of
a user acts, no credential is asked for, no redirect is followed. It ends with this process, as ``steps.core.process`` says.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from steps.core.environment import for_git
from steps.core.errors import Reason, SlipwayError
from steps.core.process import read_output
from steps.net.least_rate import LeastRate
from steps.net.proxy import Proxy, proxy_for
from steps.net.tls import bundle
from steps.net.urls import Url
from steps.sources.git_failures import MAX_TRACE, git_failure, page_failure, read_trace

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


def git_output(folder: Path, arguments: Sequence[str], *, url: Url, stdin: bytes = b"") -> Generator[bytes]:
    """Run ``git`` with ``arguments`` in ``folder``, which is its home, too, and yield its standard output as it comes.

    Whoever takes no more of it closes the generator, which stops Git.

    Args:
        folder: Where Git runs.
        arguments: The command and its arguments; values from outside come after ``--``.
        url: The repository's address: it decides which proxy Git uses, and is in messages.
        stdin: The standard input.

    Raises:
        TransientError: ``NetworkUnreachable`` or ``SourceBusy``, with the server's ``Retry-After``.
        GitRedirectedError: Where the server redirects.
        SlipwayError: ``RevisionNotFound``, ``AccessDenied``, ``SourceNotFound``, ``TooLarge``, ``DiskFull``,
            ``UntrustedCertificate``, ``ProxyRefused``, ``SourceProtocol``; ``InvalidInput`` where the variables for proxies or
            certificates cannot be used; ``MissingDependency`` without the program git.
    """
    if shutil.which("git") is None:  # GitPython cannot even be imported then
        raise SlipwayError(Reason.MISSING_DEPENDENCY, "The program git is not installed.", hint="Install git.")
    command = ["/bin/sh", "-c", _LIMITED, "sh", "git"]
    for name, value in (CONFIG | _least_rate()).items():
        command += ["-c", f"{name}={value}"]
    proxy = proxy_for(str(url))
    trace = folder / "http-trace"
    trace.unlink(missing_ok=True)
    environment = for_git(folder) | _network(folder, proxy, url.scheme, trace)

    def at_end(code: int, errors: bytes) -> None:
        answer = read_trace(_end_of(trace), datetime.now(UTC))
        if code == 0 and answer.page is not None:  # Git takes a page of one line for a repository without branches
            raise page_failure(url, proxy, answer.page)
        if code != 0:
            raise git_failure(errors.decode(errors="replace"), arguments[0], url, proxy, answer)

    yield from read_output([*command, *arguments], environment, at_end, folder=folder, stdin=stdin, launch=_launch)


def run_git(folder: Path, arguments: Sequence[str], *, url: Url, stdin: bytes = b"") -> None:
    """Run a command of Git that has nothing to say. The arguments and what it raises are those of ``git_output``."""
    for _ in git_output(folder, arguments, url=url, stdin=stdin):
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


def _network(home: Path, proxy: Proxy | None, scheme: str, trace: Path) -> dict[str, str]:
    """How Git reaches the one host that it asks: its proxy, the authorities that are trusted, and where it writes its trace."""
    variables = {"GIT_TRACE_CURL": str(trace), "GIT_TRACE_CURL_NO_DATA": "1", "GIT_TRACE_REDACT": "1"}
    if proxy and proxy.username:  # not in the environment, which is among the arguments of `env` and so for all to see
        configuration = home / "proxy.gitconfig"
        configuration.touch(mode=0o600)
        configuration.write_text(f'[http]\n\tproxy = "{proxy.url}"\n')
        variables["GIT_CONFIG_GLOBAL"] = str(configuration)
    elif proxy:
        variables[f"{scheme}_proxy"] = proxy.url
    if authorities := bundle("GIT_SSL_CAINFO"):
        path = home / "authorities.pem"
        path.write_bytes(authorities)
        variables["GIT_SSL_CAINFO"] = variables["GIT_PROXY_SSL_CAINFO"] = str(path)
    return variables


def _end_of(trace: Path) -> str:
    try:
        with trace.open("rb") as file:
            file.seek(max(0, trace.stat().st_size - MAX_TRACE))
            return file.read().decode(errors="replace")
    except FileNotFoundError:  # a command that asks no server
        return ""
