"""Proxies and certificate authorities for client libraries: each gets what ``steps.net.proxy`` and ``steps.net.tls`` say.

By themselves they read other variables than each other, take other forms of an address, and send requests for this machine
through the proxy. What they raise becomes the failures of ``steps.net.failures``.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from steps.core.errors import SlipwayError
from steps.net.bounded_response import MeasuredResponse, pool_classes
from steps.net.failures import causes, connection_error, lasting_failure, refused_by_proxy
from steps.net.proxy import proxy_for
from steps.net.tls import bundle, bundle_file, certificate_error_in_text
from steps.net.urls import host_of

if TYPE_CHECKING:
    import grpc
    import requests

_GRPC_PROXY = re.compile(r"HTTP proxy returned response code (\d{3})")
GRPC_AUTHORITIES = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"  # gRPC's own variable


def equip_session(session: requests.Session) -> None:
    """Give a session of ``requests`` the proxy and the authorities for each address that it sends a request to."""
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: object) -> None:
            super().init_poolmanager(connections, maxsize, block, **options)
            self.poolmanager.pool_classes_by_scheme = dict(pool_classes(MeasuredResponse))

        def send(
            self,
            request: requests.PreparedRequest,
            stream: bool = False,
            timeout: object = None,
            verify: object = True,
            cert: object = None,
            proxies: Mapping[str, str] | None = None,
        ) -> requests.Response:
            address = str(request.url)
            proxy = proxy_for(address)
            chosen = {address.partition(":")[0]: proxy.url} if proxy else {}
            return super().send(request, stream, timeout, bundle_file() or True, cert, chosen)  # type: ignore[arg-type]

    session.trust_env = False  # .netrc and the variables; what holds is said here
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter())


def grpc_options(target: str) -> list[tuple[str, str | int]]:
    """Options of a gRPC channel to HOST:PORT: its proxy, or that it has none. gRPC takes proxies with ``http://`` only.

    Raises:
        SlipwayError: ``ProxyRefused`` for a proxy that is reached by TLS.
    """
    proxy = proxy_for(f"https://{target}")
    if proxy is None:
        return [("grpc.enable_http_proxy", 0)]
    if proxy.scheme != "http":
        hint = f"Name a proxy with http:// in {proxy.variable}, or {target.rpartition(':')[0]} in NO_PROXY."
        raise proxy.unusable(target, target, "is reached by https, which gRPC does not do", hint=hint)
    return [("grpc.http_proxy", proxy.url)]


def grpc_credentials() -> grpc.ChannelCredentials:
    """The authorities for a gRPC channel: gRPC's own where no variable names others."""
    import grpc

    return grpc.ssl_channel_credentials(bundle(GRPC_AUTHORITIES) if bundle() else None)


def grpc_failure(text: str, what: str, target: str) -> SlipwayError | None:
    """The failure for gRPC's words where another try would end alike: a certificate, a proxy that refuses; or None."""
    proxy = proxy_for(f"https://{target}")
    refused = _GRPC_PROXY.search(text)
    if proxy and refused and int(refused[1]) < 500:
        return proxy.refused(what, target, int(refused[1]))
    return certificate_error_in_text(text, what, target)


def library_failure(error: BaseException, what: str, address: str = "") -> SlipwayError | None:
    """The same for an error of requests, botocore or urllib3; ``address`` is for an error that does not know its own."""
    address = _address_of(error) or address
    return lasting_failure(error, what, host_of(address), proxy_for(address)) if address else None


def is_lasting(error: BaseException) -> bool:
    """Whether another try would end alike, as far as the error shows."""
    return library_failure(error, "") is not None or refused_by_proxy(error)


def describe_connection(error: BaseException, what: str, address: str = "") -> str:
    """What an error of requests, botocore or urllib3 says of its connection, with the host and the proxy."""
    address = _address_of(error) or address
    if not address:
        return f"{what} is out of reach: {type(causes(error)[-1]).__name__}"
    message = connection_error(error, what, host_of(address), proxy_for(address)).message
    return f"{what} is out of reach: {message.removeprefix(f'{what}: ').rstrip('.')}"


def _address_of(error: BaseException) -> str:
    """Scheme, host and port of the address that a request was sent to, as far as the error knows it."""
    for each in causes(error):
        url = getattr(getattr(each, "request", None), "url", None)
        known = getattr(each, "kwargs", None)
        if not isinstance(url, str) and isinstance(known, Mapping):
            url = known.get("endpoint_url")
        if isinstance(url, str):
            parts = urllib.parse.urlsplit(url)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        pool = vars(each).get("pool")  # not the property of that name, which urllib3 deprecates
        if pool is not None and hasattr(pool, "scheme"):
            return f"{pool.scheme}://{pool.host}" + (f":{pool.port}" if pool.port else "")
    return ""
