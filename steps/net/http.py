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
import ssl
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
from steps.net.bounded_response import MAX_HEAD, HeadTooLargeError, pool_classes
from steps.net.credentials import BoundHeaders
from steps.net.failures import connection_error
from steps.net.least_rate import LeastRate, RateMeter
from steps.net.proxy import Proxy, proxy_for
from steps.net.retry import retry_after
from steps.net.tls import client_context
from steps.net.urls import host_of

if TYPE_CHECKING:
    import urllib3  # it costs a quarter of the CPU time that the help of a step may take: imported with the first request

MAX_HOPS = 5  # redirects of one request; object stores and hubs need two
CONNECTIONS = 8  # connections to one host that are kept open
REDIRECTS = frozenset({301, 302, 303, 307, 308})
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

    def __init__(
        self, raw: urllib3.BaseHTTPResponse, address: str, what: str, least: LeastRate, proxy: Proxy | None = None
    ) -> None:
        self._raw, self._what, self._least = raw, what, least
        self.proxy = proxy
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

    def chunks(
        self, limit: int, *, too_long: Reason = Reason.SOURCE_PROTOCOL, size: int = CHUNK, rate: RateMeter | None = None
    ) -> Iterator[bytes]:
        """The body's bytes, in chunks of ``size`` at most, as they arrive.

        After ``limit`` bytes a further one is a permanent failure with the reason ``too_long``, so that no server fills the
        memory or the disk. Raises ``TransientError`` with ``NetworkUnreachable`` where the connection breaks, and where the
        bytes come below the least rate of the settings, as ``rate`` measures it, which several answers may share.
        """
        import urllib3

        left = limit
        meter = rate or RateMeter(self._least, self._what)
        try:
            while chunk := self._next(size, meter):
                if left:
                    yield chunk[:left]
                if len(chunk) > left:
                    raise SlipwayError(too_long, f"{self._what} has more than the {limit} bytes that are allowed.")
                left -= len(chunk)
        except urllib3.exceptions.HTTPError as error:
            raise connection_error(error, self._what, host_of(self.address), self.proxy, began=True) from error

    def _next(self, size: int, meter: RateMeter) -> bytes:
        """What has arrived, as soon as anything has: waiting for a full chunk would hide how slowly it fills."""
        with meter.waiting():
            chunk = self._raw.read1(size, decode_content=False)
        meter.got(len(chunk))
        return chunk

    def read(self, limit: int) -> bytes:
        """The whole body, ``limit`` bytes at most. Raises as ``chunks`` does."""
        return b"".join(self.chunks(limit))


class HttpClient:
    """Connections to any number of hosts, each by the proxy that the environment names for it. Threads may share one."""

    def __init__(self, *, timeout: Timeout = TIMEOUT) -> None:
        self._timeout = timeout
        self._least = LeastRate.configured()
        self._pools: dict[tuple[Proxy | None, ssl.SSLContext], urllib3.PoolManager] = {}
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
        bound: BoundHeaders | None = None,
        body: bytes | Body | None = None,
        redirect: RedirectPolicy | None = None,
    ) -> Response:
        """Send one request and return the answer, whatever its status; the body of the answer is not read yet.

        Args:
            method: The HTTP method.
            address: An absolute ``http`` or ``https`` address.
            what: Names the thing that is requested, in messages.
            headers: Are sent to every address. Credentials are not among them.
            bound: Are sent where the origin is their own, and nowhere else: credentials.
            body: Is sent to every address, but not after a 303, which asks for a GET (RFC 9110, section 15.4.4).
            redirect: Checks each target of a redirect; None returns a redirect as an answer.

        Raises:
            TransientError: ``NetworkUnreachable`` where a connection cannot be made or breaks.
            SlipwayError: ``UntrustedCertificate``; ``ProxyRefused``; ``InvalidInput`` where the variables for proxies or
                certificates cannot be used; ``SourceProtocol`` for an address or a header that cannot be sent, and for more
                than ``MAX_HOPS`` redirects; whatever ``redirect`` raises.
        """
        for _ in range(MAX_HOPS + 1):
            response = self._send(method, address, what, headers or {}, bound, body)
            if redirect is None or response.status not in REDIRECTS:
                return response
            target = response.header("Location")
            response.close()
            if response.status == 303 and method not in ("GET", "HEAD"):
                method, body = "GET", None
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
        bound: BoundHeaders | None,
        body: bytes | Body | None,
    ) -> Response:
        sent = {"User-Agent": USER_AGENT, **headers}
        if bound and bound.belongs_to(address):
            sent |= bound.values
        if isinstance(body, Body):
            sent["Content-Length"] = str(body.size)
        import urllib3

        try:
            proxy = proxy_for(address)
            pool = self._pool(proxy)
        except ValueError:
            raise _unreadable(what) from None
        try:
            raw = pool.request(
                method,
                address,
                headers=sent,
                body=body.chunks() if isinstance(body, Body) else body,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.LocationValueError:
            raise _unreadable(what) from None
        except urllib3.exceptions.HTTPError as error:
            if any(isinstance(cause, HeadTooLargeError) for cause in error.args):
                text = f"{what}: {host_of(address)} sent more than {MAX_HEAD} bytes of headers."
                raise SlipwayError(Reason.SOURCE_PROTOCOL, text) from None
            raise connection_error(error, what, host_of(address), proxy) from error
        except ValueError:  # http.client, before anything is sent; UnicodeError is one of these
            raise SlipwayError(
                Reason.SOURCE_PROTOCOL,
                f"{what}: the request for {host_of(address)} would have a header that HTTP cannot carry.",
            ) from None
        if proxy and raw.status == 407:  # of a plain request; a tunnel's is an error of the connection
            raw.close()
            raise proxy.refused(what, host_of(address), raw.status)
        return Response(raw, address, what, self._least, proxy)

    def _pool(self, proxy: Proxy | None) -> urllib3.PoolManager:
        import urllib3

        context = client_context()
        with self._lock:
            key = (proxy, context)
            if key not in self._pools:
                timeout = urllib3.Timeout(connect=self._timeout.connect, read=self._timeout.read)
                pool = (
                    urllib3.ProxyManager(
                        proxy.address,
                        proxy_headers=proxy.headers,
                        proxy_ssl_context=context,
                        maxsize=CONNECTIONS,
                        retries=False,
                        timeout=timeout,
                        ssl_context=context,
                    )
                    if proxy
                    else urllib3.PoolManager(maxsize=CONNECTIONS, retries=False, timeout=timeout, ssl_context=context)
                )
                pool.pool_classes_by_scheme = dict(pool_classes())
                self._pools[key] = pool
            return self._pools[key]


def _unreadable(what: str) -> SlipwayError:
    return SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: the server gave an address that cannot be read.")
