"""An HTTP proxy on loopback: tunnels (CONNECT) and plain requests, with a user and a password where it is given them.

``hosts`` maps HOST:PORT to a server on loopback, so that tests use names that exist for the proxy alone. Everything else it
answers with 502, as a proxy that cannot resolve a name does.

    with HttpProxy(user="ada", password="p@ss", hosts={"forge.invalid:443": front.address}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:p%40ss@{proxy.host}")
        …
        assert proxy.requests == [("CONNECT", "forge.invalid:443")]
"""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.servers.loopback import Address, LoopbackServer, pump


class HttpProxy(LoopbackServer):
    """The server; ``requests`` are those that it let through, ``refused`` is how many it did not."""

    def __init__(
        self,
        *,
        user: str = "",
        password: str = "",
        hosts: Mapping[str, Address] | None = None,
        refuse: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__()
        self.hosts, self.refuse, self.tls = dict(hosts or {}), refuse, tls
        self.credential = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self.requests: list[tuple[str, str]] = []
        self.refused = 0

    def answer(self, client: socket.socket) -> None:
        """One connection of a client: one tunnel, or one plain request."""
        if self.tls:
            with self.kept(self.tls.wrap_socket(client, server_side=True)) as secured:
                self._read(secured)
        else:
            self._read(client)

    def _read(self, client: socket.socket) -> None:
        head = _read_head(client)
        if not head:
            return
        lines = head.split(b"\r\n")
        method, target, _ = lines[0].decode("latin-1").split(" ", 2)
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.decode("latin-1").partition(":") for line in lines[1:])
        }
        self._pass_on(client, method, target, headers, lines)

    def _pass_on(self, client: socket.socket, method: str, target: str, headers: dict[str, str], lines: list[bytes]) -> None:
        if self.credential and headers.get("proxy-authorization") != f"Basic {self.credential}":
            self._refuse(client, 407, 'Proxy-Authenticate: Basic realm="the office"\r\n')
            return
        if self.refuse:
            self._refuse(client, self.refuse)
            return
        parts = urlsplit(target)
        key = target if method == "CONNECT" else f"{parts.hostname}:{parts.port or 80}"
        if key not in self.hosts:
            self._refuse(client, 502)
            return
        self.requests.append((method, target))
        with self.kept(socket.create_connection(self.hosts[key], timeout=30)) as upstream:
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                kept = [line for line in lines[1:] if line and not line.lower().startswith((b"proxy-", b"connection:"))]
                upstream.sendall(b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *kept, b"Connection: close", b"", b""]))
            pump(client, upstream)

    def _refuse(self, client: socket.socket, status: int, header: str = "") -> None:
        self.refused += 1
        page = b"<html>The proxy of the office</html>"
        head = f"HTTP/1.1 {status} Refused\r\n{header}Content-Type: text/html\r\nContent-Length: {len(page)}\r\n"
        client.sendall(head.encode() + b"Connection: close\r\n\r\n" + page)


def _read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:  # byte by byte: what follows is the tunnel's, or the body
        data = connection.recv(1)
        if not data:
            return b""
        head += data
        if not head[:1].isalpha():  # TLS, for a proxy that has none
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return b""
    return head[:-4]
