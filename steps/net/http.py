"""HTTP as the sources use it: every hop through the URL policy, every failure with its reason.

Built on urllib3: one connection pool, streamed bodies. Redirects and retries are ours, because a redirect must be checked
and stripped of credentials, and a retry of a download goes on where it was cut (``steps.net.retry``).
"""

from __future__ import annotations

import contextlib
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

import urllib3

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.net.retry import TRANSIENT_STATUSES, RetryPolicy, TransientError, retry_after
from steps.net.urls import Url, check_hop

MAX_HOPS = 5
# Five tries with 7.5 seconds of waiting between them: enough for a dropped connection or a short overload. A step that fails
# for good after them is tried again as a whole, by whoever runs it.
HTTP_RETRIES = RetryPolicy(attempts=5)
TIMEOUT = urllib3.Timeout(connect=10, read=20)


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

        Raises ``TransientError`` for what may pass, else a permanent ``SlipwayError``; ``what`` names the thing asked for.
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
        if status in TRANSIENT_STATUSES:
            raise TransientError(Reason.SOURCE_BUSY, f"{what}: {url.host} answered {status}.", wait)
        if status in (401, 403):
            raise SlipwayError(Reason.ACCESS_DENIED, f"{what}: {url.host} refused it with {status}.")
        raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {url.host} answered {status}.")


def unreachable(url: Url, error: Exception) -> TransientError:
    """The reason for a connection that failed or broke."""
    return TransientError(Reason.NETWORK_UNREACHABLE, f"{url.origin} cannot be reached: {_cause(error)}.")


def _cause(error: BaseException) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return str(error) or type(error).__name__
