"""The reason for each failure of Git, from what it prints and from its trace of HTTP.

Git has exit codes for nothing and prints a sentence. What the server answered (its status, its ``Retry-After``, whether it was
a proxy) is in the trace that ``GIT_TRACE_CURL`` writes, with the credentials left out
(https://git-scm.com/docs/git#Documentation/git.txt-GITTRACECURL).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from steps.core.errors import Reason, SlipwayError
from steps.net.proxy import Proxy
from steps.net.retry import UNKNOWN_NAME_SECONDS, TransientError, is_transient, retry_after
from steps.net.tls import certificate_error_in_text
from steps.net.urls import Url
from steps.sources.choose import printable

MAX_TRACE = 1 << 20  # bytes of a trace that are read, from its end
_HEADER = re.compile(r"<= Recv header: (.*)")
_STATUS = re.compile(r"HTTP/[0-9.]+ ([0-9]{3})\b")
_REDIRECTED = re.compile(r"error: 30[12378]\b")
_PROXY_STATUS = re.compile(r"(?:CONNECT tunnel failed, response|Received HTTP code) ([0-9]{3})")
_PROXY_LOGIN = re.compile(r"could not read (?:Username|Password) for '(https?://[^']*)'")
_AUTHORITIES = re.compile(
    r"(?i)error (setting|reading) (certificate|ca cert)|certificate verify locations|CAfile: \S+ .*No such file"
)

# What Git and libcurl print (LC_ALL=C keeps them English): the first match gives the reason.
_FAILURES: tuple[tuple[str, Reason], ...] = (
    (r"[Oo]ut of memory|File too large|died of signal 25|malloc failed|too deep|exceeded maximum allowed tree depth",
     Reason.TOO_LARGE),
    (r"could not read Username|could not read Password|Authentication failed|terminal prompts disabled", Reason.ACCESS_DENIED),
    (r"(?i)Could not resolve|Failed to connect|Couldn't connect|Connection refused|timed out|Network is unreachable"
     r"|No route to host|Connection reset|Recv failure|Send failure|early EOF|hung up|transfer closed|Operation too slow"
     r"|Empty reply|disconnected while|non-properly terminated|Error in the pull function|unexpected eof"
     r"|SSL_ERROR_SYSCALL|HTTP/2 stream|invalid index-pack|Received HTTP/0.9|bytes of body are still expected"
     r"|unable to rewind|chunk hex-length|unexpected disconnect",
     Reason.NETWORK_UNREACHABLE),
    (r"No space left on device|Disk quota exceeded|unable to write|write error", Reason.DISK_FULL),
    (r"not found|not valid: is this a git repository|does not appear to be a git repository", Reason.SOURCE_NOT_FOUND),
    (r"(?i)gnutls_handshake|SSL|TLS", Reason.SOURCE_PROTOCOL),
)  # fmt: skip


class GitRedirectedError(SlipwayError):
    """The server redirected Git."""


@dataclass(frozen=True)
class GitAnswer:
    """The last answer that Git got: its status, 0 where there was none, and the server's ``Retry-After`` in seconds."""

    status: int = 0
    wait: float | None = None


def read_trace(trace: str, now: datetime) -> GitAnswer:
    """The last answer in a trace of HTTP."""
    status, wait = 0, None
    for match in _HEADER.finditer(trace):
        line = match[1].strip()
        if found := _STATUS.match(line):
            status, wait = int(found[1]), None
        elif line.lower().startswith("retry-after:"):
            wait = retry_after(line.partition(":")[2].strip(), now)
    return GitAnswer(status, wait)


def git_failure(stderr: str, command: str, url: Url, proxy: Proxy | None, answer: GitAnswer) -> SlipwayError:
    """The failure for a Git that ended with an error.

    Args:
        stderr: What it printed.
        command: Git's command.
        url: The repository's address.
        proxy: By which it is reached; None for a direct connection.
        answer: The last answer of the server.
    """
    address, host = str(url), url.origin.partition("://")[2]
    said = _sentence(stderr, proxy)
    refused = _PROXY_STATUS.search(stderr)
    status = int(refused[1]) if refused else answer.status if answer.status >= 400 else 0
    asks = _PROXY_LOGIN.search(stderr)
    if proxy and (status == 407 or (asks and asks[1].rstrip("/").endswith(f"{proxy.host}:{proxy.port}"))):
        return proxy.refused(address, host, 407)
    if proxy and refused and not is_transient(status):
        return proxy.refused(address, host, status)
    if _REDIRECTED.search(stderr) or answer.status in (301, 302, 303, 307, 308):
        return GitRedirectedError(Reason.SOURCE_NOT_FOUND, f"{address} redirects to a page that is not a repository.")
    if re.search(r"not our ref|couldn't find remote ref|unadvertised object", stderr):
        return SlipwayError(Reason.REVISION_NOT_FOUND, f"{address} has no such commit: {said}.")
    if status:
        return _of_status(status, f"{address}: {said}.", answer, through=proxy if refused else None)
    if _AUTHORITIES.search(stderr):
        return SlipwayError(Reason.UNTRUSTED_CERTIFICATE, f"{address}: {said}.")
    if (untrusted := certificate_error_in_text(stderr, address, host)) is not None:
        return untrusted
    through = f" (by {proxy})" if proxy else ""
    for pattern, reason in _FAILURES:
        if re.search(pattern, stderr):
            text = f"{address}: {said}{through if reason is Reason.NETWORK_UNREACHABLE else ''}."
            unknown = UNKNOWN_NAME_SECONDS if "Could not resolve" in stderr else None
            return TransientError(reason, text, budget=unknown) if reason.retryable else SlipwayError(reason, text)
    if answer.status == 200 and re.search(
        r"(?i)protocol error|bad line length|invalid server response|bad pack header|expected", stderr
    ):
        text = f"{address}: the answer is not one of Git's protocol, perhaps a proxy's or a login's page ({said})."
        return SlipwayError(Reason.SOURCE_PROTOCOL, text)
    return SlipwayError(Reason.SOURCE_PROTOCOL, f"git {command} failed for {address}: {said}.")


def _of_status(status: int, text: str, answer: GitAnswer, *, through: Proxy | None) -> SlipwayError:
    if is_transient(status):
        reason = Reason.NETWORK_UNREACHABLE if through else Reason.SOURCE_BUSY
        return TransientError(reason, text if not through else f"{text[:-1]} (by {through}).", answer.wait)
    if status in (401, 403):
        return SlipwayError(Reason.ACCESS_DENIED, text)
    if status in (404, 410):
        return SlipwayError(Reason.SOURCE_NOT_FOUND, text)
    return SlipwayError(Reason.SOURCE_PROTOCOL, text)


def _sentence(stderr: str, proxy: Proxy | None) -> str:
    """Git's own sentence or the server's, on one line and without secrets."""
    lines = [line for line in stderr.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
    text = re.sub(r"^(fatal|error|remote): *", "", (lines or stderr.splitlines() or ["nothing"])[0]).rstrip(".")
    for secret in proxy.secrets if proxy else ():
        text = text.replace(secret, "…")
    return printable(text.encode())  # a server's message may hold a terminal's control sequences
