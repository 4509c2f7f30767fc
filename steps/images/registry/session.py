"""HTTP to a registry: who asks, whether to ask again, and what a refusal means.

Built on urllib3, which is here anyway and sends a body from an iterator. The package ``oras`` was weighed: it brings
requests and jsonschema, takes blobs from files only, and leaves it to its caller to compare a download's digest.

A registry answers 401 with a challenge (RFC 9110): ``Basic``, or ``Bearer`` with the address of a token server, which is
asked for a token with just the rights that the exchange needs, without credentials where nobody wrote any down
(https://distribution.github.io/distribution/spec/auth/token/). Addresses of uploads and of redirected downloads carry
secrets in their queries: no message shows more of an address than its host.
"""

from __future__ import annotations

import contextlib
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import urllib3

from steps import __version__
from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.images.registry.credentials import Credentials, find_credentials
from steps.images.registry.reference import is_plain
from steps.net.http import HTTP_RETRIES
from steps.net.retry import TRANSIENT_STATUSES, TransientError, retry_after, retry_messages

TIMEOUT = urllib3.Timeout(connect=10, read=300)  # a registry may move gigabytes before it answers the last request
MAX_HOPS = 5
MAX_ANSWER = 1 << 20  # bytes of a token server's or a refusal's answer
MARGIN = 10.0  # seconds that a token must still be good for
DENIED_HINT = (
    "Log in with `docker login` or `podman login`, or mount a Secret with the registry's credentials and name its folder in "
    "DOCKER_CONFIG; the account must be allowed to {verb} {repository}."
)
_CHALLENGE = re.compile(r'\b(Basic|Bearer)\s+((?:[A-Za-z_]+="[^"]*"(?:\s*,\s*)?)*)', re.IGNORECASE)
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')
_QUERY = re.compile(r"\?[^\s\"']*")
T = TypeVar("T")


class RegistryBusy(TransientError):
    """A failure of a registry that may pass."""

    def __init__(self, reason: Reason, message: str, wait: float | None = None) -> None:
        super().__init__(reason, message, wait)
        if reason is Reason.STORE_BUSY:
            self.hint = "The registry is overloaded or out of reach: run again later."


@dataclass(frozen=True)
class Token:
    """An ``Authorization`` header's value, and until when it is good, on the clock's count."""

    value: str
    until: float


@dataclass(frozen=True)
class Body:
    """What a request sends: a function that begins the bytes anew for each try, and how many they are."""

    size: int
    chunks: Callable[[], Iterable[bytes]]


class Session:
    """Connections to one registry on behalf of one repository."""

    def __init__(
        self, host: str, api_host: str, repository: str, *, plain_http: Iterable[str], clock: Clock, tell: Callable[[str], None]
    ) -> None:
        self.host, self.repository = host, repository
        self._clock, self._tell = clock, tell
        self._plain = frozenset(plain_http)
        self.origin = f"{'http' if is_plain(api_host, self._plain) else 'https'}://{api_host}"
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._tokens: dict[tuple[str, ...], Token] = {}
        self._credentials: Credentials | None = None
        self._looked = False

    def close(self) -> None:
        for pool in self._pools.values():
            pool.clear()

    def retrying(self, work: Callable[[], T]) -> T:
        """Call ``work`` until it does not raise ``TransientError``, a few times, waiting as the registry asks."""
        return HTTP_RETRIES.call(work, clock=self._clock, notify=retry_messages(self._tell))

    @contextlib.contextmanager
    def exchange(
        self,
        method: str,
        path: str,
        *,
        what: str,
        rights: tuple[str, ...],
        expect: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """One request, and its answer if the status is among ``expect``; the answer's body is not read yet.

        ``path`` is a path of the registry or an address that it gave; ``rights`` are the scopes to ask a token for. Raises
        ``TransientError`` for what may pass, else a ``SlipwayError`` that names ``what``.
        """
        url = urllib.parse.urljoin(self.origin + "/", path)
        if not url.startswith(("https://", self.origin + "/")):
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {self.host} names an address that is not https.")
        response = self._send(method, url, rights, headers or {}, body, what)
        try:
            if response.status == 401 and self._of_registry(url):
                self._tokens.pop(rights, None)
                self._authorize(response, rights, what)
                response.close()
                response = self._send(method, url, rights, headers or {}, body, what)
            if response.status not in expect:
                raise self.failure(response, what, rights)
            yield response
        finally:
            response.close()

    def _send(
        self, method: str, url: str, rights: tuple[str, ...], headers: Mapping[str, str], body: Body | None, what: str
    ) -> urllib3.BaseHTTPResponse:
        for _ in range(MAX_HOPS + 1):
            sent = {"User-Agent": f"slipway/{__version__}", **headers}
            token = self._tokens.get(rights)
            if token and self._of_registry(url) and token.until > self._clock.monotonic():
                sent["Authorization"] = token.value
            if body:
                sent["Content-Length"] = str(body.size)
            response = self._raw(method, url, sent, body.chunks() if body else None, what)
            if method not in ("GET", "HEAD") or response.status not in (301, 302, 303, 307, 308):
                return response
            target = urllib.parse.urljoin(url, response.headers.get("Location", ""))
            response.close()
            if not target.startswith("https://") and not self.origin.startswith("http://"):
                raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {self.host} redirects to an address that is not https.")
            url = target
        raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {self.host} redirects more than {MAX_HOPS} times.")

    def _raw(self, method: str, url: str, headers: Mapping[str, str], body: Any, what: str) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool(url).request(
                method, url, headers=headers, body=body, redirect=False, preload_content=False, decode_content=False
            )
        except urllib3.exceptions.LocationValueError:
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {self.host} gave an address that is none.") from None
        except urllib3.exceptions.HTTPError as error:
            raise broken(error, what, _host_of(url)) from None

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urllib.parse.urlsplit(url)
        proxy = None
        if not urllib.request.proxy_bypass(parts.netloc):
            proxy = urllib.request.getproxies().get(parts.scheme)
        key = proxy or ""
        if key not in self._pools:
            options: dict[str, Any] = {"retries": False, "timeout": TIMEOUT}
            self._pools[key] = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
        return self._pools[key]

    def _authorize(self, response: urllib3.BaseHTTPResponse, rights: tuple[str, ...], what: str) -> None:
        """Get what the challenge asks for. Raises ``AccessDenied`` where there is nothing to show."""
        challenges = {
            scheme.lower(): dict(_PARAMETER.findall(parameters))
            for header in response.headers.getlist("WWW-Authenticate")
            for scheme, parameters in _CHALLENGE.findall(header)
        }
        if not self._looked:
            self._credentials, self._looked = find_credentials(self.host, self.repository), True
        if "bearer" in challenges:
            self._tokens[rights] = self._fetch_token(challenges["bearer"], rights, what)
        elif "basic" in challenges and self._credentials and self._credentials.username:
            self._tokens[rights] = Token(self._credentials.basic, float("inf"))
        else:
            raise self.failure(response, what, rights)

    def _fetch_token(self, challenge: Mapping[str, str], rights: tuple[str, ...], what: str) -> Token:
        realm = challenge.get("realm", "")
        parts = urllib.parse.urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_plain(parts.netloc, self._plain)):
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {self.host} names a token server that is not https.")
        query = [("service", challenge.get("service", "")), *(("scope", right) for right in rights)]
        known, headers = self._credentials, {}
        asked = self._clock.monotonic()
        if known and known.identity_token:
            form = [("grant_type", "refresh_token"), ("refresh_token", known.identity_token), ("client_id", "slipway")]
            data = urllib.parse.urlencode([*form, query[0], ("scope", " ".join(rights))]).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            response = self._raw("POST", realm, headers, data, what)
        else:
            if known:
                headers["Authorization"] = known.basic
            address = parts._replace(query=parts.query + ("&" if parts.query else "") + urllib.parse.urlencode(query))
            response = self._raw("GET", urllib.parse.urlunsplit(address), headers, None, what)
        try:
            if response.status != 200:
                raise self.failure(response, what, rights)
            answer = json.loads(_read(response, what, self.host))
            value = str(answer.get("token") or answer["access_token"])
            seconds = float(answer.get("expires_in") or 60)  # 60: what the specification says of an answer without it
        except (ValueError, TypeError, LookupError, AttributeError):
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{what}: {parts.hostname} gave no token.") from None
        finally:
            response.close()
        return Token(f"Bearer {value}", asked + max(seconds - MARGIN, seconds / 2))

    def failure(self, response: urllib3.BaseHTTPResponse, what: str, rights: tuple[str, ...]) -> SlipwayError:
        status = response.status
        wait = retry_after(response.headers.get("Retry-After"), self._clock.now())
        said = self._said(response, what)
        text = f"{what}: {self.host} answered {status}{f' ({said})' if said else ''}."
        if status in TRANSIENT_STATUSES:
            return RegistryBusy(Reason.STORE_BUSY, text, wait)
        if status in (401, 403):
            verb = "push to" if any("push" in right for right in rights) else "pull from"
            hint = DENIED_HINT.format(verb=verb, repository=f"{self.host}/{self.repository}")
            return SlipwayError(Reason.ACCESS_DENIED, text, hint=hint)
        if status == 404:
            return SlipwayError(
                Reason.SOURCE_NOT_FOUND, text, hint="Check the name; some registries want a repository made first."
            )
        if status == 413:
            return SlipwayError(
                Reason.TOO_LARGE, text, hint="The registry, or a proxy before it, limits the size of a layer: raise the limit."
            )
        return SlipwayError(Reason.SOURCE_PROTOCOL, text, hint="Ask whoever runs the registry.")

    def _said(self, response: urllib3.BaseHTTPResponse, what: str) -> str:
        """The first error of an answer, as the specification has it, without what nobody must read."""
        try:
            error = json.loads(_read(response, what, self.host))["errors"][0]
            text = f"{error['code']}: {error['message']}"
        except (SlipwayError, ValueError, LookupError, TypeError):
            return ""
        for secret in (
            *(self._credentials.secrets if self._credentials else ()),
            *(token.value.partition(" ")[2] for token in self._tokens.values()),
        ):
            text = text.replace(secret, "…")
        return _QUERY.sub("?…", text)[:300]

    def _of_registry(self, url: str) -> bool:
        """Whether an address is the registry's own: only it gets our token, not the storage that it redirects to."""
        return url.startswith(self.origin + "/")


def broken(error: Exception, what: str, host: str) -> SlipwayError:
    """The reason for a connection that failed or broke; ``host`` is shown, and no more of the address."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # type: ignore[assignment]
    if isinstance(error, urllib3.exceptions.SSLError):
        said = getattr(cause, "verify_message", "") or "TLS failed"
        return SlipwayError(
            Reason.SOURCE_PROTOCOL,
            f"{what}: {host} shows no certificate that is trusted here ({said}).",
            hint="Name the file of its certificate authority in SSL_CERT_FILE; a registry that speaks plain HTTP is named in "
            "SLIPWAY_PLAIN_HTTP.",
        )
    said = getattr(cause, "strerror", None) or type(cause).__name__
    return RegistryBusy(Reason.NETWORK_UNREACHABLE, f"{what}: {host} cannot be reached: {said}.")


def _read(response: urllib3.BaseHTTPResponse, what: str, host: str) -> bytes:
    try:
        return response.read(MAX_ANSWER)
    except urllib3.exceptions.HTTPError as error:
        raise broken(error, what, host) from None


def _host_of(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
