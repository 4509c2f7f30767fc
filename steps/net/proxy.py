"""Proxies: which one an address gets, by the rules of curl and httpx, read from the environment.

``http_proxy``, ``https_proxy`` and ``all_proxy`` name proxies, ``no_proxy`` the hosts that are reached without one; each name
is read in lower case first. The proxy is chosen for each address anew: a redirect may lead from a host behind the proxy to one
that is reached directly, and the objects of a repository may be elsewhere than the repository.

Every client of Slipway asks ``proxy_for``, and gives its library or program the answer and nothing else: the rules of urllib,
requests, gRPC and different releases of curl are not the same.

https://everything.curl.dev/usingcurl/proxies/env.html, https://www.python-httpx.org/environment_variables/
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import urllib.parse
from dataclasses import dataclass, field

from steps.core.errors import Reason, SlipwayError
from steps.net.urls import is_loopback_host

# A proxy without a port is at curl's port: that is where `git` looks for it, too.
_PORTS = {"http": 1080, "https": 443}
_PROXY = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?:(?P<user>[^/?#@:]*)(?::(?P<password>[^/?#]*))?@)?"
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)
# Without an example: what stands before an @ in a message is taken for a password and cut.
USER_RULE = "with a colon between them, @ behind them, and special characters percent-encoded (@ is %40)"
_SOCKS = re.compile(r"socks[45]?[ah]?")


@dataclass(frozen=True)
class Proxy:
    """A proxy, and the variable that names it.

    ``username`` and ``password`` are decoded, and empty where the variable has none.
    """

    variable: str
    scheme: str
    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        """``SCHEME://HOST:PORT``, without the user's name and password."""
        return f"{self.scheme}://{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address with the user's name and password, for the program or library that is given it. It is in no message."""
        if not self.username:
            return self.address
        # With a password, even an empty one: Git would ask for it.
        user = f"{urllib.parse.quote(self.username, safe='')}:{urllib.parse.quote(self.password, safe='')}"
        return f"{self.scheme}://{user}@{self.host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """What authorizes a request to the proxy itself (RFC 7617); empty without a user."""
        if not self.username:
            return {}
        user = f"{self.username}:{self.password}".encode()
        return {"Proxy-Authorization": f"Basic {base64.b64encode(user).decode()}"}

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that no message may show, the longest first."""
        if not self.password:
            return ()
        forms = {self.password, urllib.parse.quote(self.password, safe=""), urllib.parse.quote(self.password)}
        return tuple(sorted((*forms, self.headers["Proxy-Authorization"][6:]), key=len, reverse=True))

    def __str__(self) -> str:
        return f"the proxy {self.host}:{self.port} ({self.variable})"

    def unusable(self, what: str, host: str, happened: str, *, hint: str = "") -> SlipwayError:
        """The failure of a request because of the proxy: ``ProxyRefused``, with the variable to look at."""
        return SlipwayError(
            Reason.PROXY_REFUSED,
            f"{what}: {self}, by which {host} is reached, {happened}.",
            hint=hint or f"Correct {self.variable}, or name {host_name(host)} in NO_PROXY if it is reached without the proxy.",
        )

    def without_tls(self, what: str, host: str) -> SlipwayError:
        """The failure where the variable says ``https`` and the proxy answers in plain HTTP."""
        hint = f"Write http:// and not https:// in {self.variable}: that is how to reach the proxy."
        return self.unusable(what, host, "does not speak TLS", hint=hint)

    def refused(self, what: str, host: str, status: int) -> SlipwayError:
        """The failure for a status from 400 that the proxy itself answered with, to a request for ``host``."""
        if status == 407:
            wrong = "does not accept the user and password that it has" if self.username else "asks for a user and a password"
            hint = f"Correct the user and the password in {self.variable}: {USER_RULE}."
            return self.unusable(what, host, f"{wrong} (407)", hint=hint)
        return self.unusable(what, host, f"does not let the request through ({status})")


def proxy_for(address: str) -> Proxy | None:
    """The proxy for an absolute ``http`` or ``https`` address; None where it is reached directly, as this machine always is.

    Raises:
        SlipwayError: ``InvalidInput`` for a variable that cannot be read, and for a SOCKS proxy.
        ValueError: for an address that cannot be read.
    """
    parts = urllib.parse.urlsplit(address)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    if parts.scheme not in _PORTS or not host or is_loopback_host(host):
        return None
    variable, value = _named(parts.scheme)
    if not value or _is_excluded(parts.scheme, host, port, _first("no_proxy", "NO_PROXY")[1]):
        return None
    return _parse(variable, value, host)


def host_name(host: str) -> str:
    """A host without its port."""
    return re.sub(r":[0-9]*$", "", host)


def _named(scheme: str) -> tuple[str, str]:
    """The variable that holds for a scheme, and its value; an empty value switches the proxy off."""
    names = [f"{scheme}_proxy"]
    # In a CGI program HTTP_PROXY is the request's header `Proxy` (https://httpoxy.org).
    if scheme == "https" or "REQUEST_METHOD" not in os.environ:
        names.append(f"{scheme}_proxy".upper())
    return _first(*names, "all_proxy", "ALL_PROXY")


def _first(*names: str) -> tuple[str, str]:
    """The first of these variables that is set, and its value."""
    return next(((name, os.environ[name].strip()) for name in names if name in os.environ), ("", ""))


def _parse(variable: str, value: str, host: str) -> Proxy:
    match = _PROXY.fullmatch(value)
    scheme = (match["scheme"] or "http").lower() if match else ""
    if _SOCKS.fullmatch(value.partition("://")[0].lower()) and "://" in value:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{variable} names a SOCKS proxy for {host}; Slipway uses HTTP proxies.",
            hint=f"Name an HTTP proxy in {variable} (http://HOST:PORT), or name {host} in NO_PROXY to reach it directly.",
        )
    port = int(match["port"]) if match and match["port"] else _PORTS.get(scheme, 0)
    if match is None or scheme not in _PORTS or not 0 < port < 65536:
        raise SlipwayError(  # the value may hold a password: it is not shown
            Reason.INVALID_INPUT,
            f"{variable} is not the address of a proxy.",
            hint=f"Set {variable} to http://HOST:PORT. A user and a password go before the host: {USER_RULE}.",
        )
    user, password = (urllib.parse.unquote(match[name] or "") for name in ("user", "password"))
    return Proxy(variable, scheme, match["host"].lower(), port, user, password)


def _is_excluded(scheme: str, host: str, port: int, listing: str) -> bool:
    """Whether ``no_proxy`` names the host.

    Its entries, after commas or white space, are ``*``, a name (which stands for what is below it, too; with or without a dot
    or ``*.`` in front), an IP address, or a network such as ``10.0.0.0/8``; each but a network may have a port.
    """
    host = host.lower().rstrip(".")
    number = _number(host)
    for entry in filter(None, re.split(r"[,\s]+", listing.lower())):
        of_scheme, separator, rest = entry.rpartition("://")
        if separator and of_scheme not in (scheme, "all"):
            continue
        name = rest.rstrip("/") if separator else entry
        if name == "*":
            return True
        if "/" in name:
            if number is not None and _contains(name, number):
                return True
            continue
        match = re.fullmatch(r"\[(?P<six>[^\]]*)\](?::(?P<port6>[0-9]+))?|(?P<name>[^:]*):(?P<port>[0-9]+)", name)
        of_port = match and (match["port6"] or match["port"])
        if of_port and int(of_port) != port:
            continue
        name = (match["six"] or match["name"] or "") if match else name
        if number is not None:
            if _number(name) == number:
                return True
            continue
        name = re.sub(r"^\*?\.", "", name).rstrip(".")
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        number = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return getattr(number, "ipv4_mapped", None) or number


def _contains(network: str, number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return number in ipaddress.ip_network(network.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False
