"""TLS before a server that has none: takes connections with a certificate, and passes their bytes on."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from typing import Self

from tests.servers.http_proxy import Address, pump
from tests.servers.trust import Trust


def server_context(trust: Trust) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trust.certificate, trust.key)
    return context


class TlsFront:
    """Listens on a free port of loopback, with the certificate of ``trust``, for the server at ``behind``."""

    def __init__(self, trust: Trust, behind: Address) -> None:
        self.context, self.behind = server_context(trust), behind
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.front = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def address(self) -> Address:
        return ("127.0.0.1", int(self._server.server_address[1]))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._server.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    front: TlsFront
    daemon_threads = False

    def __init__(self, address: Address, handler: type[_Connection]) -> None:
        super().__init__(address, handler)
        self.open: set[socket.socket] = set()

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: clients that trust nobody break off."""


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        raw: socket.socket = self.request
        self.server.open.add(raw)
        try:
            client = self.server.front.context.wrap_socket(raw, server_side=True)
            self.server.open.add(client)
            with client, socket.create_connection(self.server.front.behind, timeout=30) as upstream:
                self.server.open.add(upstream)
                pump(client, upstream)
                self.server.open.discard(upstream)
            self.server.open.discard(client)
        finally:
            self.server.open.discard(raw)
