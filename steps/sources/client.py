"""The HTTP client of one source: each address through the rules of ``steps.net.urls``, each failure with its reason."""

from __future__ import annotations

from collections.abc import Mapping

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.net.credentials import Authorization
from steps.net.http import HttpClient, Response
from steps.net.retry import TRANSIENT_STATUSES, TransientError
from steps.net.urls import Url, check_hop, host_of, parse

# Statuses from 400 that say something about the thing requested; the caller knows what.
_ANSWERS = frozenset({404, 405, 410, 416, 422, 501})


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
        authorization: Authorization | None = None,
        body: bytes | None = None,
    ) -> Response:
        """Send one request, follow redirects, and return the answer with its body unread. The caller closes it.

        Statuses below 400 and those that say that the thing is not there are for the caller to judge.

        Raises:
            TransientError: ``SourceBusy`` or ``NetworkUnreachable``, for what may pass.
            SlipwayError: ``AccessDenied`` for 401 and 403; ``SourceProtocol`` for other statuses and for redirects that
                ``check_hop`` refuses.
        """
        response = self._http.request(
            method,
            str(url),
            what=what,
            headers=headers,
            authorization=authorization,
            body=body,
            redirect=lambda target: str(check_hop(target, self._source)),
        )
        status = response.status
        if status < 400 or status in _ANSWERS:
            return response
        response.close()
        text = f"{what}: {host_of(response.address)} answered {status}."
        if status in TRANSIENT_STATUSES:
            raise TransientError(Reason.SOURCE_BUSY, text, response.retry_after(self._clock.now()))
        if status in (401, 403):
            raise SlipwayError(Reason.ACCESS_DENIED, text)
        raise SlipwayError(Reason.SOURCE_PROTOCOL, text)

    def final_address(self, url: Url, *, what: str, headers: Mapping[str, str]) -> Url:
        """The address where redirects from ``url`` end; the body of the answer there is not read. Raises as ``request``."""
        response = self.request("GET", url, what=what, headers=headers)
        response.close()
        return parse(response.address)
