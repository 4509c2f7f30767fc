"""Where a service listens: whether this machine can, told before anything is unpacked or loaded, and the address to call."""

from __future__ import annotations

import errno
import socket

from steps.core.errors import Reason, SlipwayError

FIRST_FREE_FOR_ALL = 1024  # ports below need a right of their own on most systems
LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # what reaches a service that listens on all addresses


def check_listen(host: str, port: int) -> None:
    """Raise ``InvalidInput`` where nothing can listen on this address and port: the port is in use, say. Port 0 is any."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"--host {host!r} is not an address of this machine.",
            hint="Use 127.0.0.1 for this machine alone, or 0.0.0.0 for all that reach it.",
        ) from None
    for family, kind, protocol, _, address in found[:1]:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what ended is no hindrance
            try:
                probe.bind(address)
                probe.listen()
            except OSError as error:
                raise _refused(error, host, port) from None


def service_url(host: str, port: int) -> str:
    """Return the address at which this machine calls a service that listens there (RFC 3986: IPv6 in brackets)."""
    name = LOOPBACK.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"


def _refused(error: OSError, host: str, port: int) -> SlipwayError:
    match error.errno:
        case errno.EADDRINUSE:
            return SlipwayError(
                Reason.INVALID_INPUT,
                f"port {port} is in use; --port 0 takes a free one.",
                hint="Name another --port.",
            )
        case errno.EACCES if port < FIRST_FREE_FOR_ALL:
            return SlipwayError(
                Reason.INVALID_INPUT,
                f"port {port} may be used by the administrator alone.",
                hint=f"Use a port from {FIRST_FREE_FOR_ALL} on; --port 0 takes a free one.",
            )
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return SlipwayError(
                Reason.INVALID_INPUT,
                f"--host {host} is not an address of this machine.",
                hint="Use 127.0.0.1 for this machine alone, or 0.0.0.0 for all that reach it.",
            )
    return SlipwayError(
        Reason.INVALID_INPUT,
        f"Nothing can listen on {host} port {port}: {error.strerror}.",
        hint="Name others.",
    )
