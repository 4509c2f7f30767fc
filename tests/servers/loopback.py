"""A TCP server on a free port of loopback, of which a subclass says how it answers one connection."""

from __future__ import annotations

import select
import socket
import socketserver
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

Address = tuple[str, int]


class LoopbackServer(ABC):
    """Open as a context; at its end it breaks the connections that are open, and waits for their threads."""

    def __init__(self) -> None:
        self.open: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _Connection)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def address(self) -> Address:
        return ("127.0.0.1", int(self._server.server_address[1]))

    @property
    def host(self) -> str:
        """The address as a URL has it: HOST:PORT."""
        return f"127.0.0.1:{self.address[1]}"

    @abstractmethod
    def answer(self, client: socket.socket) -> None:
        """Answer one connection, in a thread of its own; what it opens besides is ``kept``."""

    @contextmanager
    def kept(self, connection: socket.socket) -> Iterator[socket.socket]:
        """A connection that the end of the server breaks, and that is closed behind the block."""
        with connection:
            self.open.add(connection)
            try:
                yield connection
            finally:
                self.open.discard(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    owner: LoopbackServer
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Report nothing: clients break connections, and break off where they trust nobody."""


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with self.server.owner.kept(self.request) as client:
            self.server.owner.answer(client)


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
