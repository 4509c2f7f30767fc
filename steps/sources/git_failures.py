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
from steps.net.proxy import Proxy, host_name
from steps.net.retry import UNKNOWN_NAME_SECONDS, TransientError, is_transient, retry_after
from steps.net.tls import certificate_error_in_text
from steps.net.urls import HTTP_HOSTS, Url
from steps.sources.choose import printable

MAX_TRACE = 1 << 20  # bytes of a trace that are read, from its end
_HEADER = re.compile(r"(=> Send|<= Recv) header: (.*)")
_FIRST_REQUEST = re.compile(r"GET \S*/info/refs\?service=git-upload-pack ")
_ADVERTISEMENT = "application/x-git-upload-pack-advertisement"  # gitprotocol-http(5): without it, it is not Git that answers
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,40}")
_PLAIN = re.compile(r"(?i)unexpected TLS packet|packet with unexpected length|wrong.version.number|packet length too long")
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
    """The last answer that Git got: its status, 0 where there was none, and the server's ``Retry-After`` in seconds.

    ``page`` is the media type of an answer to Git's first request that is not Git's, None without such an answer. ``asked`` is
    whether any request was sent, be it to a proxy.
    """

    status: int = 0
    wait: float | None = None
    page: str | None = None
    asked: bool = False


def read_trace(trace: str, now: datetime) -> GitAnswer:
    """The last answer in a trace of HTTP."""
    status, wait = 0, None
    page: str | None = None
    asked = first = False
    for match in _HEADER.finditer(trace):
        line = match[2].strip()
        if match[1].startswith("=>"):
            asked = True
            if re.match(r"[A-Z]+ \S+ HTTP/", line):
                first = _FIRST_REQUEST.match(line) is not None
        elif found := _STATUS.match(line):
            status, wait = int(found[1]), None
            page = page if not first else "" if 200 <= status < 300 else None
        elif first and page is not None and line.lower().startswith("content-type:"):
            page = line.partition(":")[2].partition(";")[0].strip().lower()
        elif line.lower().startswith("retry-after:"):
            wait = retry_after(line.partition(":")[2].strip(), now)
    return GitAnswer(status, wait, None if page == _ADVERTISEMENT else page, asked)


def page_failure(url: Url, proxy: Proxy | None, page: str) -> SlipwayError:
    """The failure for a first answer of the media type ``page``, which is not Git's."""
    host = url.origin.partition("://")[2]
    shown = f" ({page})" if _MEDIA_TYPE.fullmatch(page) else ""
    through = f" (by {proxy})" if proxy else ""
    variable = f", or correct {proxy.variable}" if proxy else ""
    return SlipwayError(
        Reason.SOURCE_PROTOCOL,
        f"{url}: {host}{through} answered with a web page, such as that of a login or a proxy{shown}, and not as Git does.",
        hint=f"Check the address: it must be the one for `git clone`. If the network asks for a login, log in there{variable}.",
    )


def _without_tls(url: Url, proxy: Proxy | None, answer: GitAnswer) -> SlipwayError:
    """The failure where TLS was begun with a server that answers in plain HTTP: the proxy, if nothing was sent to it yet."""
    host = url.origin.partition("://")[2]
    if proxy and proxy.scheme == "https" and not answer.asked:
        return proxy.without_tls(str(url), host)
    return SlipwayError(
        Reason.SOURCE_PROTOCOL,
        f"{url}: {host} does not speak TLS at that port{f' (by {proxy})' if proxy else ''}.",
        hint=f"Correct the port. If it speaks plain HTTP, write http:// and name {host_name(host)} in {HTTP_HOSTS}.",
    )


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
    if status:
        return _of_status(status, f"{address}: {said}.", answer, through=proxy if refused else None)
    if answer.page is not None:
        return page_failure(url, proxy, answer.page)
    if re.search(r"not our ref|couldn't find remote ref|unadvertised object", stderr):
        return SlipwayError(
            Reason.REVISION_NOT_FOUND,
            f"{address} has no such commit, or gives out only the tips of branches and tags: {said}.",
            hint="Name a branch or a tag, or check that the full commit id is one of this repository.",
        )
    if _PLAIN.search(stderr):
        return _without_tls(url, proxy, answer)
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
