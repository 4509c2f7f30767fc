"""HTTP as the sources use it: every hop through the URL policy, every failure with its reason.

Built on urllib3: one connection pool, streamed bodies. Redirects and retries are ours, because a redirect must be checked
and stripped of credentials, and a retry of a download goes on where it was cut. Waiting goes by ``Retry-After`` (RFC 9110,
seconds or a date) or else doubles from half a second.
"""

from __future__ import annotations

import contextlib
import random
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import urllib3

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.net.retry import retry_after
from steps.net.urls import Url, check_hop

MAX_HOPS = 5
MAX_TRIES = 5
MAX_WAIT = 600.0  # seconds; a server that asks for more is told to be busy
TIMEOUT = urllib3.Timeout(connect=10, read=20)
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
T = TypeVar("T")
_JITTER = random.Random()  # not the module's own, which a program that fetches may have seeded


class Busy(SlipwayError):
    """A transient failure inside one request. ``wait`` is what the server asked for, in seconds, if it did."""

    def __init__(self, reason: Reason, message: str, wait: float | None = None) -> None:
        super().__init__(reason, message)
        self.wait = wait


class Http:
    """A client bound to the source that it fetches for."""

    def __init__(self, source: Url, clock: Clock, connections: int = 8) -> None:
        self._source, self._clock = source, clock
        proxy = None
        if not urllib.request.proxy_bypass(source.host):
            proxy = urllib.request.getproxies().get(source.scheme)
        options: dict[str, Any] = {"maxsize": connections, "block": False, "retries": False, "timeout": TIMEOUT}
        self._pool: urllib3.PoolManager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)

    def close(self) -> None:
        self._pool.clear()

    def request(
        self, method: str, url: Url, *, headers: Mapping[str, str], body: bytes | None = None, what: str
    ) -> urllib3.BaseHTTPResponse:
        """One exchange, redirects followed; the body is not read yet. The caller closes the response.

        Raises ``Busy`` for what may pass, and a permanent ``SlipwayError`` otherwise; ``what`` names the thing asked for.
        Statuses below 400, and those that say that the thing is not there, are the caller's to judge.
        """
        return self._request(method, url, headers, body, what)[0]

    def landing(self, url: Url, *, headers: Mapping[str, str], what: str) -> Url:
        """Where redirects from ``url`` end; the body of the answer there is not read. Raises as ``request`` does."""
        response, landed = self._request("GET", url, headers, None, what)
        response.close()
        return landed

    def _request(
        self, method: str, url: Url, headers: Mapping[str, str], body: bytes | None, what: str
    ) -> tuple[urllib3.BaseHTTPResponse, Url]:
        origin = url.origin
        for _ in range(MAX_HOPS + 1):
            sent = dict(headers)
            if url.origin != origin:
                sent.pop("Authorization", None)
            try:
                response = self._pool.request(
                    method, str(url), headers=sent, body=body, redirect=False, preload_content=False, decode_content=False
                )
            except urllib3.exceptions.HTTPError as error:
                raise unreachable(url, error) from error
            if response.status not in (301, 302, 303, 307, 308):
                return self._judge(response, url, what), url
            target = response.headers.get("Location", "")
            response.close()
            with contextlib.suppress(ValueError):  # a broken address goes to check_hop as it is
                target = urllib.parse.urljoin(str(url), target)
            url = check_hop(target, self._source)
        raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: more than {MAX_HOPS} redirects, the last to {url}.")

    def _judge(self, response: urllib3.BaseHTTPResponse, url: Url, what: str) -> urllib3.BaseHTTPResponse:
        status = response.status
        if status < 400 or status in (404, 405, 410, 416, 422, 501):
            return response
        wait = retry_after(response.headers.get("Retry-After"), self._clock.now())
        response.close()
        if status in TRANSIENT:
            raise Busy(Reason.SOURCE_BUSY, f"{what}: {url.host} answered {status}.", wait)
        if status in (401, 403):
            raise SlipwayError(Reason.ACCESS_DENIED, f"{what}: {url.host} refused it with {status}.")
        raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {url.host} answered {status}.")


def with_retries(work: Callable[[], T], clock: Clock, tell: Callable[[str], None]) -> T:
    """Call ``work`` until it does not raise ``Busy``, ``MAX_TRIES`` times at most, waiting as the server asks."""
    for attempt in range(MAX_TRIES):
        try:
            return work()
        except Busy as busy:
            wait = wait_before(attempt, busy)
            if attempt + 1 == MAX_TRIES or wait > MAX_WAIT:
                raise
            tell(f"{busy.message} Trying again in {wait:.0f} s.")
            clock.sleep(wait)
    raise AssertionError("unreachable")


def wait_before(attempt: int, busy: Busy) -> float:
    """Seconds to wait after try number ``attempt`` (from 0): what the server said, else 0.5, 1, 2, … with jitter."""
    if busy.wait is not None:
        return busy.wait
    return float(0.5 * 2**attempt * _JITTER.uniform(0.8, 1.2))


def unreachable(url: Url, error: Exception) -> Busy:
    """The reason for a connection that failed or broke."""
    return Busy(Reason.NETWORK_UNREACHABLE, f"{url.origin} cannot be reached: {_cause(error)}.")


def _cause(error: BaseException) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return str(error) or type(error).__name__
