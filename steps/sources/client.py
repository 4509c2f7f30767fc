"""The HTTP client of one source: each address through the rules of ``steps.net.urls``, each failure with its reason."""

from __future__ import annotations

from collections.abc import Mapping

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.net.answers import answered
from steps.net.credentials import BoundHeaders
from steps.net.http import HttpClient, Response
from steps.net.retry import TransientError, is_transient
from steps.net.urls import Url, check_hop, host_of, parse

# Statuses from 400 that say something about the thing requested; the caller knows what.
_ANSWERS = frozenset({404, 405, 410, 413, 416, 422, 501})


class SourceClient:
    """Sends requests on behalf of the source at one address; redirects are judged by where that address is."""

    def __init__(self, source: Url, clock: Clock) -> None:
        self._source, self._clock = source, clock
        self._http = HttpClient()

    def close(self) -> None:
        """Close the connections that are idle."""
        self._http.close()

    def request(
        self,
        method: str,
        url: Url,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        bound: BoundHeaders | None = None,
        body: bytes | None = None,
        judged: frozenset[int] = frozenset(),
    ) -> Response:
        """Send one request, follow redirects, and return the answer with its body unread. The caller closes it.

        Statuses below 400, those that say that the thing is not there and those in ``judged`` are for the caller to judge,
        which has ``failure`` for the ones that it does not know.

        Raises:
            TransientError: ``SourceBusy`` or ``NetworkUnreachable``, for what may pass.
            SlipwayError: ``AccessDenied`` for 401 and 403; ``SourceProtocol`` for other statuses and for redirects that
                ``check_hop`` refuses; what ``HttpClient.request`` raises.
        """
        response = self._http.request(
            method,
            str(url),
            what=what,
            headers=headers,
            bound=bound,
            body=body,
            redirect=lambda target: str(check_hop(target, self._source)),
        )
        if response.status < 400 or response.status in _ANSWERS | judged:
            return response
        with response:
            raise self.failure(response, what, bound)

    def failure(self, response: Response, what: str, bound: BoundHeaders | None = None) -> SlipwayError:
        """The failure for a status from 400, with the server's own sentence; ``bound`` are the headers that were sent."""
        secrets = tuple(bound.values.values()) if bound else ()
        text = f"{what}: {answered(response, host_of(response.address), secrets)}."
        if is_transient(response.status):
            return TransientError(Reason.SOURCE_BUSY, text, response.retry_after(self._clock.now()))
        if response.status in (401, 403):
            return SlipwayError(Reason.ACCESS_DENIED, text)
        return SlipwayError(Reason.SOURCE_PROTOCOL, text)

    def final_address(self, url: Url, *, what: str, headers: Mapping[str, str]) -> Url:
        """The address where redirects from ``url`` end; the body of the answer there is not read. Raises as ``request``."""
        response = self.request("GET", url, what=what, headers=headers)
        response.close()
        return parse(response.address)
