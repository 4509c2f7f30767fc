"""Which addresses Slipway contacts.

One strict parser for the source itself, for every redirect and for every address in a Git LFS answer. ``https`` goes
anywhere; plain ``http`` only to this machine, or to hosts that whoever runs Slipway named in ``SLIPWAY_HTTP_HOSTS``
(comma-separated ``host`` or ``host:port``), because a plain connection can be changed on its way.
"""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse
from dataclasses import dataclass

from steps.core.errors import Reason, SlipwayError
from steps.core.redaction import SOURCE_CREDENTIALS, find_secret, redact_address

MAX_URL = 8192  # characters; signed addresses of object stores have thousands
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_CHARACTER = r"[A-Za-z0-9._~!&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}"
_URL = re.compile(
    r"(?P<scheme>https?)://"
    rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<path>/(?:{_CHARACTER})*)?"
    rf"(?:\?(?P<query>(?:{_CHARACTER}|[$?])*))?"
)
# The addresses of repositories that ``check_source`` accepts, less what only a place can decide, such as whether plain http may
# be used. Read alike by Python, by Rust (pydantic) and by RE2 (the API server), so the CRD's schema can hold it.
_PATH_CHARACTER = r"([A-Za-z0-9._~!&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
REPOSITORY_PATTERN = (
    r"^https?://"
    r"([A-Za-z0-9]+((\.|-+)[A-Za-z0-9]+)*|\[[0-9A-Fa-f:.]+\])"
    r"(:[0-9]{1,5})?"
    rf"/+{_PATH_CHARACTER}({_PATH_CHARACTER}|/)*$"
)
REPOSITORY_RULE = (
    "write the address of a repository as https://HOST/PATH, with no user name, password, query, white space or brace"
)
HTTP_HOSTS = "SLIPWAY_HTTP_HOSTS"
_SOURCE_HINT = f"Write https://HOST/PATH and no more. {SOURCE_CREDENTIALS}"
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Url:
    """An accepted address. ``origin`` is what credentials are bound to."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    @property
    def origin(self) -> str:
        """Scheme and host, and the port where it is not the scheme's own (RFC 6454)."""
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    def __str__(self) -> str:
        return f"{self.origin}{self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def is_loopback(self) -> bool:
        """Whether this is the machine itself, as far as the address shows."""
        return is_loopback_host(self.host)

    @property
    def is_link_local(self) -> bool:
        """Whether this is the machine's own link, where clouds keep their metadata services (169.254.169.254)."""
        number = _number(self.host)
        return number is not None and number.is_link_local


def check_source(text: str) -> Url:
    """The address of a repository as a ``Model`` gives it. Raises ``InvalidSource`` and says what is wrong with it."""
    if "?" in text:
        raise _invalid(text, "a repository's address has no query", hint=_SOURCE_HINT)
    url = parse(text)
    if what := find_secret(text):
        raise _invalid(text, f"it has {what}", hint=_SOURCE_HINT)
    if not url.path.strip("/"):
        raise _invalid(text, "it names a host but not a repository")
    return Url(url.scheme, url.host, url.port, url.path.rstrip("/"))


def check_hop(text: str, came_from: Url) -> Url:
    """Check an address that a server gave: a redirect, or the address of an LFS object.

    It may not lead from the network to this machine or its link, nor from ``https`` to ``http``. Raises
    ``SourceProtocol``: it is the server that is at fault, not whoever named the source.
    """
    try:
        url = parse(text)
        if (url.is_loopback or url.is_link_local) and not came_from.is_loopback:
            raise _invalid(text, "it is an address inside this machine")
        if came_from.scheme == "https" and url.scheme == "http":
            raise _invalid(text, "it leads from https to http")
    except SlipwayError as error:
        hint = error.hint if HTTP_HOSTS in error.hint else None
        raise SlipwayError(
            Reason.SOURCE_PROTOCOL, f"{came_from.host} redirects to a refused address: {error.message}", hint=hint
        ) from None
    return url


def parse(text: str) -> Url:
    """An absolute ``http`` or ``https`` address by RFC 3986, in its plainest form. Raises ``InvalidSource``."""
    if len(text) > MAX_URL:
        raise _invalid(text, f"it is longer than {MAX_URL} characters")
    if re.search(r"[\x00-\x20\x7f-\x9f]", text):
        raise _invalid(text, "it has white space or a control character")
    if text.startswith("-"):
        raise _invalid(text, "it begins with a dash, like an option")
    if "://" not in text:
        raise _invalid(text, "it is not an https:// address")
    scheme, _, rest = text.partition("://")
    if scheme not in ("http", "https"):
        raise _invalid(text, f"{scheme[:20]}:// is not supported; use https://")
    if "@" in rest.partition("/")[0]:
        raise _invalid(text, "it has a user name or a password in it; secrets never stand in an address", hint=_SOURCE_HINT)
    match = _URL.fullmatch(text)
    if match is None:
        raise _invalid(text, "it is not a plain address of host, port and path")
    port = int(match["port"]) if match["port"] else _DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise _invalid(text, f"there is no port {port}")
    path = match["path"] or "/"
    if any(part in (".", "..") for part in re.sub("%2[eE]", ".", path).split("/")):
        raise _invalid(text, "its path has a '.' or '..' part")
    url = Url(scheme, match["host"].lower(), port, path, match["query"] or "")
    try:
        _number(url.host)
    except ValueError:
        raise _invalid(text, "its host is a number that programs read in different ways") from None
    if scheme == "http" and not (url.is_loopback or _allowed_http(url)):
        raise SlipwayError(
            Reason.INVALID_SOURCE,
            f"{_shown(text)}: plain http reaches only this machine.",
            hint=f"Use https://, or name the host in the environment variable {HTTP_HOSTS}.",
        )
    return url


def origin_of(address: str) -> str:
    """Scheme, host and port of an address that need not be an accepted one, as in ``Url.origin``; empty where it has none."""
    try:
        parts = urllib.parse.urlsplit(address)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return ""
    if not parts.hostname or port is None:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}")


def host_of(address: str) -> str:
    """Host and port of an address for a message, without what may be a secret in it."""
    return re.split("[/?#]", address.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]


def is_loopback_host(host: str) -> bool:
    """Whether a host, IPv6 in brackets or not, is the machine itself: ``localhost``, a name below it, or a number for it."""
    try:
        number = _number(f"[{host}]" if ":" in host and not host.startswith("[") else host)
    except ValueError:
        return False
    if number is None:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")
    return number.is_loopback or number.is_unspecified


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a host is, None for a name. ``ValueError`` for other spellings of one, such as 127.1 or 0x7f.1.

    A host whose last part is a number is not a name (https://url.spec.whatwg.org/#ends-in-a-number-checker).
    """
    if host.startswith("["):
        number = ipaddress.IPv6Address(host[1:-1])
        return number.ipv4_mapped or number
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.rpartition(".")[2]):
        return ipaddress.IPv4Address(host)
    return None


def _allowed_http(url: Url) -> bool:
    allowed = {entry.strip().lower() for entry in os.environ.get(HTTP_HOSTS, "").split(",")}
    return url.host in allowed or f"{url.host}:{url.port}" in allowed


def _shown(text: str) -> str:
    """An address for a message: shortened, and without the places where secrets stand."""
    text = redact_address(text)
    return repr(text if len(text) <= 200 else text[:200] + "…")


def _invalid(text: str, why: str, *, hint: str | None = None) -> SlipwayError:
    return SlipwayError(Reason.INVALID_SOURCE, f"{_shown(text)} is not an address that can be fetched: {why}.", hint=hint)
