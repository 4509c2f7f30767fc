"""The one way to make an HTTP connection, for sources and registries.

Built on urllib3: one connection pool a proxy, streamed bodies. ``HttpClient`` sends a request and follows redirects; what a
status means, and where a redirect may lead, is its caller's to say. Redirects are followed here and not in urllib3, because
each one must be checked by the caller's policy and loses the credentials of another origin. Retries are those of
``steps.net.retry``.

Messages name the thing that was requested and the host that failed, and no more of an address: paths and queries of redirects
hold signatures.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

from steps import __version__
from steps.core.digest import CHUNK
from steps.core.errors import Reason, SlipwayError
from steps.net.credentials import Authorization
from steps.net.proxy import proxy_for
from steps.net.retry import RetryPolicy, TransientError, retry_after
from steps.net.tls import certificate_error
from steps.net.urls import host_of

if TYPE_CHECKING:
    import urllib3  # it costs a quarter of the CPU time that the help of a step may take: imported with the first request

MAX_HOPS = 5  # redirects of one request; object stores and hubs need two
CONNECTIONS = 8  # connections to one host that are kept open
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Five tries with 7.5 seconds of waiting between them: enough for a dropped connection or a short overload. A step that fails
# for good after them is tried again as a whole, by whoever runs it.
HTTP_RETRIES = RetryPolicy(attempts=5)
USER_AGENT = f"slipway/{__version__}"

RedirectPolicy = Callable[[str], str]
"""Takes the target of a redirect, absolute where it can be read at all, and returns the address to go to, or raises."""


@dataclass(frozen=True)
class Timeout:
    """Seconds to connect, and between two reads."""

    connect: float
    read: float


TIMEOUT = Timeout(connect=10, read=20)  # for a server that answers from memory or disk


@dataclass(frozen=True)
class Body:
    """What a request sends: a function that begins the bytes anew for each try, and how many they are."""

    size: int
    chunks: Callable[[], Iterable[bytes]]


class Response:
    """The answer to one request; its body is read by ``chunks`` or ``read``. Close it, or use it as a context manager."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, address: str, what: str) -> None:
        self._raw, self._what = raw, what
        self.address = address
        self.status = raw.status

    def __enter__(self) -> Response:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection up, or back to its pool where the body was read."""
        self._raw.close()

    def shutdown(self) -> None:
        """Wake another thread that waits for the body: its read fails. Nothing happens where the body has ended."""
        with contextlib.suppress(ValueError, RuntimeError, TypeError, OSError):
            self._raw.shutdown()

    def header(self, name: str) -> str:
        """A header's value; empty where there is none."""
        return self._raw.headers.get(name, "")

    def header_lines(self, name: str) -> list[str]:
        """The values of a header that may occur more than once."""
        return self._raw.headers.getlist(name)

    def retry_after(self, now: datetime) -> float | None:
        """The seconds that the server requests to wait, None where it requests none."""
        return retry_after(self._raw.headers.get("Retry-After"), now)

    def chunks(self, limit: int, *, too_long: Reason = Reason.SOURCE_PROTOCOL, size: int = CHUNK) -> Iterator[bytes]:
        """The body's bytes, in chunks of ``size`` at most, as they arrive.

        After ``limit`` bytes a further one is a permanent failure with the reason ``too_long``, so that no server fills the
        memory or the disk. Raises ``TransientError`` with ``NetworkUnreachable`` where the connection breaks.
        """
        import urllib3

        left = limit
        try:
            for chunk in self._raw.stream(size):
                if left:
                    yield chunk[:left]
                if len(chunk) > left:
                    raise SlipwayError(too_long, f"{self._what} has more than the {limit} bytes that are allowed.")
                left -= len(chunk)
        except urllib3.exceptions.HTTPError as error:
            raise connection_error(error, self._what, self.address, began=True) from error

    def read(self, limit: int) -> bytes:
        """The whole body, ``limit`` bytes at most. Raises as ``chunks`` does."""
        return b"".join(self.chunks(limit))


class HttpClient:
    """Connections to any number of hosts, each by the proxy that the environment names for it. Threads may share one."""

    def __init__(self, *, timeout: Timeout = TIMEOUT) -> None:
        self._timeout = timeout
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

    def request(
        self,
        method: str,
        address: str,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        authorization: Authorization | None = None,
        body: bytes | Body | None = None,
        redirect: RedirectPolicy | None = None,
    ) -> Response:
        """Send one request and return the answer, whatever its status; the body of the answer is not read yet.

        Args:
            method: The HTTP method.
            address: An absolute ``http`` or ``https`` address.
            what: Names the thing that is requested, in messages.
            headers: Are sent to every address. Credentials are not among them.
            authorization: Is sent where the origin is its own, and nowhere else.
            body: Is sent to every address.
            redirect: Checks each target of a redirect; None returns a redirect as an answer.

        Raises:
            TransientError: ``NetworkUnreachable`` where a connection cannot be made or breaks.
            SlipwayError: ``SourceProtocol`` for an address that cannot be read, for a certificate that is not trusted and for
                more than ``MAX_HOPS`` redirects; whatever ``redirect`` raises.
        """
        for _ in range(MAX_HOPS + 1):
            response = self._send(method, address, what, headers or {}, authorization, body)
            if redirect is None or response.status not in REDIRECTS:
                return response
            target = response.header("Location")
            response.close()
            with contextlib.suppress(ValueError):  # a broken address goes to the policy as it is
                target = urllib.parse.urljoin(address, target)
            address = redirect(target)
        raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: more than {MAX_HOPS} redirects, the last to {host_of(address)}.")

    def _send(
        self,
        method: str,
        address: str,
        what: str,
        headers: Mapping[str, str],
        authorization: Authorization | None,
        body: bytes | Body | None,
    ) -> Response:
        sent = {"User-Agent": USER_AGENT, **headers}
        if authorization and authorization.belongs_to(address):
            sent["Authorization"] = authorization.value
        if isinstance(body, Body):
            sent["Content-Length"] = str(body.size)
        import urllib3

        try:
            raw = self._pool(address).request(
                method,
                address,
                headers=sent,
                body=body.chunks() if isinstance(body, Body) else body,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (urllib3.exceptions.LocationValueError, _UnreadableAddress):
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: the server gave an address that cannot be read.") from None
        except urllib3.exceptions.HTTPError as error:
            raise connection_error(error, what, address) from error
        return Response(raw, address, what)

    def _pool(self, address: str) -> urllib3.PoolManager:
        import urllib3

        try:
            parts = urllib.parse.urlsplit(address)
            proxy = proxy_for(parts.scheme, parts.netloc.rpartition("@")[2])
        except ValueError:
            raise _UnreadableAddress from None
        with self._lock:
            if proxy not in self._pools:
                timeout = urllib3.Timeout(connect=self._timeout.connect, read=self._timeout.read)
                self._pools[proxy] = (
                    urllib3.ProxyManager(proxy, maxsize=CONNECTIONS, retries=False, timeout=timeout)
                    if proxy
                    else urllib3.PoolManager(maxsize=CONNECTIONS, retries=False, timeout=timeout)
                )
            return self._pools[proxy]


class _UnreadableAddress(Exception):
    """An address that the standard library cannot take apart."""


def connection_error(error: Exception, what: str, address: str, *, began: bool = False) -> SlipwayError:
    """The failure for a connection that could not be made, or that broke after it had begun.

    Permanent for a certificate that is not trusted, else a ``TransientError`` with ``NetworkUnreachable``. ``what`` names the
    thing that was requested.
    """
    host = host_of(address)
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    if (permanent := certificate_error(cause, what, host)) is not None:
        return permanent
    # The texts of urllib3's own errors show the address with its query; those of the operating system do not.
    text = (cause.strerror or str(cause)) if isinstance(cause, OSError) else type(cause).__name__
    happened = f"the connection to {host} broke" if began else f"{host} cannot be reached"
    return TransientError(Reason.NETWORK_UNREACHABLE, f"{what}: {happened}: {text}.")
