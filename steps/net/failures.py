"""What went wrong with a connection, as one failure with its reason: the same for Slipway's own client and for libraries.

Libraries wrap the errors of urllib3 and of the operating system several times over. The innermost says what happened; the ones
around it show addresses with their queries, which hold signatures, and are in no message.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPException

from steps.core.errors import Reason, SlipwayError
from steps.net.proxy import Proxy, host_name
from steps.net.retry import UNKNOWN_NAME_SECONDS, TransientError, is_transient
from steps.net.tls import certificate_error

# http.client's words for a refused CONNECT
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")


def connection_error(error: BaseException, what: str, host: str, proxy: Proxy | None, *, began: bool = False) -> SlipwayError:
    """The failure for a connection that could not be made, or that broke after it had begun.

    Args:
        error: What the library raised.
        what: Names the thing that was requested.
        host: HOST[:PORT] that it was requested from.
        proxy: By which it was requested; None for a direct connection.
        began: Whether an answer had begun.

    Returns:
        ``UntrustedCertificate``, ``ProxyRefused`` or ``SourceProtocol`` where it would happen again; else a ``TransientError``
        with ``NetworkUnreachable``.
    """
    if (permanent := lasting_failure(error, what, host, proxy)) is not None:
        return permanent
    cause = causes(error)[-1]
    # The texts of urllib3's own errors show the address with its query; those of the operating system do not.
    text = (cause.strerror or str(cause)) if isinstance(cause, OSError) else type(cause).__name__
    at_proxy = proxy is not None and not began and (_failed_at_proxy(error) or _TUNNEL.search(text))
    peer = str(proxy) if at_proxy else host
    if isinstance(cause, socket.gaierror):
        name = host_name(proxy.host if proxy and at_proxy else host)
        place = f" in {proxy.variable}" if proxy and at_proxy else ""
        lasting = cause.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
        return TransientError(
            Reason.NETWORK_UNREACHABLE,
            f"{what}: {peer} cannot be reached: there is no host of the name {name} ({text}).",
            hint=f"Check the name {name}{place} and this machine's DNS, then run again.",
            budget=UNKNOWN_NAME_SECONDS if lasting else None,
        )
    through = f" (by {proxy})" if proxy and not at_proxy else f" on the way to {host}" if at_proxy else ""
    happened = f"the connection to {peer} broke{through}" if began else f"{peer} cannot be reached{through}"
    return TransientError(Reason.NETWORK_UNREACHABLE, f"{what}: {happened}: {text}.")


def lasting_failure(error: BaseException, what: str, host: str, proxy: Proxy | None) -> SlipwayError | None:
    """The failure of ``connection_error`` where another try would end alike: a certificate, a proxy that refuses; or None."""
    cause = causes(error)[-1]
    at_proxy = proxy is not None and _failed_at_proxy(error)
    tunnel = _TUNNEL.search(str(cause))
    if proxy and tunnel:
        status = int(tunnel[1])
        return None if is_transient(status) else proxy.refused(what, host, status)
    if proxy and at_proxy and getattr(cause, "reason", "") in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return proxy.without_tls(what, host)
    return certificate_error(cause, what, f"{proxy}" if proxy and at_proxy else host)


def refused_by_proxy(error: BaseException) -> bool:
    """Whether a proxy has refused a tunnel with a status that does not pass."""
    tunnel = _TUNNEL.search(str(causes(error)[-1]))
    return tunnel is not None and not is_transient(int(tunnel[1]))


def causes(error: BaseException) -> list[BaseException]:
    """An error and those that it was raised from, the innermost last."""
    return list(_causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: object = error
    while isinstance(found, BaseException) and id(found) not in seen:
        seen.add(id(found))
        yield found
        kept = getattr(found, "kwargs", None)
        arguments = (*found.args, getattr(found, "reason", None), kept.get("error") if isinstance(kept, Mapping) else None)
        wrapped = found.__cause__ or next((each for each in arguments if isinstance(each, BaseException)), None)
        # An error of the system wraps nothing: its context is what the program was about when it happened.
        leaf = isinstance(found, (OSError, HTTPException)) and wrapped is None
        found = None if leaf else wrapped or found.__context__


def _failed_at_proxy(error: BaseException) -> bool:
    """Whether the connection to the proxy itself is what failed: urllib3 says so by an error of its own."""
    return any(type(each).__name__ == "ProxyError" for each in causes(error))
