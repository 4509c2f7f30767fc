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
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Mapping
from typing import Self
from urllib.parse import urlsplit

Address = tuple[str, int]


class HttpProxy:
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
        self.hosts, self.refuse, self.tls = dict(hosts or {}), refuse, tls
        self.credential = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self.requests: list[tuple[str, str]] = []
        self.refused = 0
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.cut()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    owner: HttpProxy
    daemon_threads = False

    def __init__(self, address: Address, handler: type[_Connection]) -> None:
        super().__init__(address, handler)
        self.open: set[socket.socket] = set()

    def cut(self) -> None:
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: clients break connections."""


class _Connection(socketserver.BaseRequestHandler):
    """One connection of a client: one tunnel, or one plain request."""

    server: _Server

    def handle(self) -> None:
        owner = self.server.owner
        client: socket.socket = self.request
        self.server.open.add(client)
        try:
            if owner.tls:
                client = owner.tls.wrap_socket(client, server_side=True)
                self.server.open.add(client)
            head = _read_head(client)
            if not head:
                return
            lines = head.split(b"\r\n")
            method, target, _ = lines[0].decode("latin-1").split(" ", 2)
            headers = {
                name.strip().lower(): value.strip()
                for name, _, value in (line.decode("latin-1").partition(":") for line in lines[1:])
            }
            self._answer(client, method, target, headers, lines)
        finally:
            self.server.open.discard(client)
            client.close()

    def _answer(self, client: socket.socket, method: str, target: str, headers: dict[str, str], lines: list[bytes]) -> None:
        owner = self.server.owner
        if owner.credential and headers.get("proxy-authorization") != f"Basic {owner.credential}":
            self._refuse(client, 407, 'Proxy-Authenticate: Basic realm="the office"\r\n')
            return
        if owner.refuse:
            self._refuse(client, owner.refuse)
            return
        parts = urlsplit(target)
        key = target if method == "CONNECT" else f"{parts.hostname}:{parts.port or 80}"
        if key not in owner.hosts:
            self._refuse(client, 502)
            return
        owner.requests.append((method, target))
        with socket.create_connection(owner.hosts[key], timeout=30) as upstream:
            self.server.open.add(upstream)
            if method == "CONNECT":
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                kept = [line for line in lines[1:] if line and not line.lower().startswith((b"proxy-", b"connection:"))]
                upstream.sendall(b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *kept, b"Connection: close", b"", b""]))
            pump(client, upstream)
            self.server.open.discard(upstream)

    def _refuse(self, client: socket.socket, status: int, header: str = "") -> None:
        self.server.owner.refused += 1
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


def pump(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until one side ends."""
    sides = {one: other, other: one}
    while True:
        pending = [side for side in sides if isinstance(side, ssl.SSLSocket) and side.pending()]
        for side in pending or select.select(list(sides), [], [], 10)[0]:
            try:
                data = side.recv(65536)
                if data:
                    sides[side].sendall(data)
            except OSError:
                return
            if not data:
                return
