"""Authenticated requests to a registry, and the errors that its answers stand for.

A registry answers 401 with a challenge (RFC 9110): ``Basic``, or ``Bearer`` with the address of a token server, which is
requested to give a token with just the scopes that the request needs, without credentials where there are none
(https://distribution.github.io/distribution/spec/auth/token/). Addresses of uploads and of redirected downloads carry
secrets in their queries: no message shows more of an address than its host.

Connections, redirects and retries are those of ``steps.net``. The package ``oras`` was weighed against this: it brings
requests and jsonschema, takes blobs from files only, and leaves it to its caller to compare a download's digest.
"""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict, TypeVar, cast

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.core.json_reader import read_object
from steps.images.registry.challenge import read_challenges
from steps.images.registry.credentials import Credentials, find_credentials
from steps.images.registry.reference import uses_plain_http
from steps.net.answers import answered
from steps.net.credentials import BoundHeaders
from steps.net.http import Body, HttpClient, Response, Timeout
from steps.net.retry import SERVER_RETRIES, TransientError, is_transient, retry_messages
from steps.net.urls import host_of, origin_of

TIMEOUT = Timeout(connect=10, read=300)  # a registry may move gigabytes before it answers the last request
MAX_ANSWER = 1 << 20  # bytes of a token server's or a refusal's answer
MARGIN = 10.0  # seconds before its end that a token is no longer used
BUSY_HINT = "The registry is overloaded or out of reach: run again later."
DENIED_HINT = (
    "Log in with `docker login` or `podman login`, or mount a Secret with the registry's credentials and name its folder in "
    "DOCKER_CONFIG; the account must be allowed to {verb} {repository}."
)
_TOKEN = re.compile(r"[\x21-\x7e]+")  # RFC 6750, and what registries make of it
MAX_TOKEN = 64 << 10  # characters
LONGEST_TOKEN = 86400.0  # seconds that a token is used at most
T = TypeVar("T")


@dataclass(frozen=True)
class Token:
    """What authorizes a request, and the time on the monotonic clock, in seconds, until which it is used."""

    headers: BoundHeaders
    until: float


class TokenAnswer(TypedDict, total=False):
    """A token server's answer, as far as it is used; a field may be of another type, whatever stands here."""

    token: str
    access_token: str
    expires_in: float


class Session:
    """Connections to one registry on behalf of one repository."""

    def __init__(
        self, host: str, api_host: str, repository: str, *, plain_http: Iterable[str], clock: Clock, note: Callable[[str], None]
    ) -> None:
        self.host, self.repository = host, repository
        self._clock, self._note = clock, note
        self._plain = frozenset(plain_http)
        self.origin = f"{'http' if uses_plain_http(api_host, self._plain) else 'https'}://{api_host}"
        self._http = HttpClient(timeout=TIMEOUT)
        self._tokens: dict[tuple[str, ...], Token] = {}
        self._credentials: Credentials | None = None
        self._searched_credentials = False

    def close(self) -> None:
        """Close the connections that are idle."""
        self._http.close()

    def retry(self, work: Callable[[], T]) -> T:
        """Call ``work`` until it does not raise ``TransientError``, a few times, waiting as the registry asks."""
        return SERVER_RETRIES.call(work, clock=self._clock, notify=retry_messages(self._note))

    @contextlib.contextmanager
    def exchange(
        self,
        method: str,
        path: str,
        *,
        what: str,
        scopes: tuple[str, ...],
        expect: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Iterator[Response]:
        """Send one request, and yield its answer if the status is among ``expect``; the answer's body is not read yet.

        Args:
            method: The HTTP method. Redirects are followed.
            path: A path of the registry, or an address that it gave: see ``resolve``.
            what: Names the thing that is requested, in messages.
            scopes: The scopes of the token, such as ``repository:NAME:pull,push``.
            expect: The statuses that the caller handles.
            headers: Further headers.
            body: What is sent.

        Raises:
            TransientError: ``StoreBusy`` or ``NetworkUnreachable``, for what may pass.
            SlipwayError: ``AccessDenied``, ``SourceNotFound``, ``TooLarge`` or ``SourceProtocol``, by the status.
        """
        address = self.resolve(path, self.origin + "/", what)
        response = self._send(method, address, scopes, headers, body, what)
        try:
            if response.status == 401 and origin_of(response.address) == origin_of(self.origin):
                self._tokens.pop(scopes, None)
                self._authorize(response, scopes, what)
                response.close()
                response = self._send(method, address, scopes, headers, body, what)
            if response.status not in expect:
                raise self.failure(response, what, scopes)
            yield response
        finally:
            response.close()

    def resolve(self, location: str, answered_at: str, what: str) -> str:
        """The address that a ``Location`` means in the answer to a request for ``answered_at`` (RFC 9110, section 10.2.2).

        Raises ``SourceProtocol`` where it is none, or not https, unless the registry itself is spoken to by plain HTTP.
        """
        try:
            address = urllib.parse.urljoin(answered_at, location.strip())
            readable = bool(urllib.parse.urlsplit(address).hostname)
        except ValueError:
            readable = False
        if not readable:
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {self.host} names an address that cannot be read.")
        if not address.startswith(("https://", self.origin + "/")) and not self.origin.startswith("http://"):
            raise SlipwayError(
                Reason.SOURCE_PROTOCOL,
                f"{what}: {self.host} names an address that is not https.",
                hint="A registry behind a proxy must know its own address: the proxy has to send X-Forwarded-Proto, and Host.",
            )
        return address

    def _send(
        self,
        method: str,
        address: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None,
        body: Body | None,
        what: str,
    ) -> Response:
        token = self._tokens.get(scopes)
        return self._http.request(
            method,
            address,
            what=what,
            headers=headers,
            bound=token.headers if token and token.until > self._clock.monotonic() else None,
            body=body,
            redirect=lambda target: self.resolve(target, address, what),
        )

    def _authorize(self, response: Response, scopes: tuple[str, ...], what: str) -> None:
        """Get what the challenge asks for. Raises ``AccessDenied`` where there are no credentials for it."""
        challenges = read_challenges(response.header_lines("WWW-Authenticate"))
        if not self._searched_credentials:
            self._credentials, self._searched_credentials = find_credentials(self.host, self.repository), True
        if "bearer" in challenges:
            self._tokens[scopes] = self._fetch_token(challenges["bearer"], scopes, what)
        elif "basic" in challenges and self._credentials and self._credentials.username:
            self._tokens[scopes] = self._token(self._credentials.basic, float("inf"))
        else:
            raise self.failure(response, what, scopes)

    def _token(self, value: str, until: float) -> Token:
        return Token(BoundHeaders.authorization(origin_of(self.origin), value), until)

    def _fetch_token(self, challenge: Mapping[str, str], scopes: tuple[str, ...], what: str) -> Token:
        realm = challenge.get("realm", "")
        parts = urllib.parse.urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and uses_plain_http(parts.netloc, self._plain)):
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {self.host} names a token server that is not https.")
        # What the registry asks for may have another name for the repository than the path has.
        wanted = dict.fromkeys((*scopes, *challenge.get("scope", "").split()))
        query = [("service", challenge.get("service", "")), *(("scope", scope) for scope in wanted)]
        known = self._credentials
        requested = self._clock.monotonic()
        if known and known.identity_token:
            form = [("grant_type", "refresh_token"), ("refresh_token", known.identity_token), ("client_id", "slipway")]
            data = urllib.parse.urlencode([*form, query[0], ("scope", " ".join(wanted))]).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._http.request("POST", realm, what=what, headers=headers, body=data)
        else:
            bound = BoundHeaders.authorization(origin_of(realm), known.basic) if known else None
            address = parts._replace(query=parts.query + ("&" if parts.query else "") + urllib.parse.urlencode(query))
            response = self._http.request("GET", urllib.parse.urlunsplit(address), what=what, bound=bound)
        try:
            if response.status != 200:
                raise self.failure(response, what, scopes)
            answer = cast(TokenAnswer, read_object(response.read(MAX_ANSWER)))
            value = answer.get("token") or answer["access_token"]
            seconds = float(answer.get("expires_in") or 60)  # the specification's default
            if not isinstance(value, str) or len(value) > MAX_TOKEN or not _TOKEN.fullmatch(value):
                raise ValueError
        except (ValueError, TypeError, LookupError, AttributeError):
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {parts.hostname} did not answer with a token.") from None
        finally:
            response.close()
        seconds = min(LONGEST_TOKEN, seconds) if seconds > 0 else 0.0  # also for NaN
        return self._token(f"Bearer {value}", requested + max(seconds - MARGIN, seconds / 2))

    def failure(self, response: Response, what: str, scopes: tuple[str, ...]) -> SlipwayError:
        """The error for an answer's status, with the registry's own sentence; a ``TransientError`` where it may pass."""
        status, at = response.status, host_of(response.address)
        host = self.host if origin_of(response.address) == origin_of(self.origin) else f"{at}, for {self.host},"
        text = f"{what}: {answered(response, host, self._secrets())}."
        if is_transient(status):
            return self.busy(text, response.retry_after(self._clock.now()))
        if status in (401, 403):
            verb = "push to" if any("push" in scope for scope in scopes) else "pull from"
            hint = DENIED_HINT.format(verb=verb, repository=f"{self.host}/{self.repository}")
            return SlipwayError(Reason.ACCESS_DENIED, text, hint=hint)
        if status == 404:
            return SlipwayError(
                Reason.SOURCE_NOT_FOUND, text, hint="Check the name; some registries need a repository to be created first."
            )
        if status == 413:
            return SlipwayError(
                Reason.TOO_LARGE, text, hint="The registry, or a proxy before it, limits the size of a layer: raise the limit."
            )
        return SlipwayError(Reason.SOURCE_PROTOCOL, text, hint="Ask the administrator of the registry.")

    def busy(self, text: str, wait: float | None = None) -> TransientError:
        """The error for a registry that may succeed at another try; ``wait`` is its ``Retry-After`` in seconds."""
        return TransientError(Reason.STORE_BUSY, text, wait, hint=BUSY_HINT)

    def _secrets(self) -> list[str]:
        """The texts that no message may show."""
        tokens = [token.headers.values["Authorization"].partition(" ")[2] for token in self._tokens.values()]
        return [*(self._credentials.secrets if self._credentials else ()), *tokens]
