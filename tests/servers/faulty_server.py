"""An HTTP server on loopback that fails as it is told: what the stand-ins for object stores have in common.

with GcsServer("models") as server:
    server.faults.append(Fault("GET", "/o/", status=503, times=2))
"""

from __future__ import annotations

import re
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Effect(Enum):
    """What a fault does to the request it hits."""

    ANSWER = auto()  # answer with the fault's status; nothing is done
    DROP = auto()  # cut the connection; nothing is done
    LOSE = auto()  # do it, then cut the connection: half-way through a download, before any answer otherwise
    KEEP_A_PART = auto()  # of a part of a resumable upload, keep the first 256 KiB
    CORRUPT = auto()  # change a byte on its way, in whichever direction data goes
    ROT = auto()  # change a byte of what is stored, after the checks


@dataclass
class Fault:
    """Befalls the next ``times`` requests with this method (empty: any) whose path and query match the regular expression.

    The first ``skip`` of them are let through before.
    """

    method: str
    path: str
    effect: Effect = Effect.ANSWER
    status: int = 503
    times: int = 1
    skip: int = 0
    code: str = ""  # what the provider calls it, where that says more than the status
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], object] = lambda: None  # what happens just before


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class FaultyServer(ABC):
    """Serves in threads of its own; ``requests`` are those so far: method, path with query, bytes of body."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, int]] = []
        self.lock = threading.RLock()
        self.connections: set[socket.socket] = set()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        with self.lock:
            for connection in self.connections:  # clients keep them open; their threads wait in a read
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
        self._thread.join()

    @abstractmethod
    def answer(self, method: str, path: str, headers: Any, body: bytes, effect: Effect | None) -> Answer:
        """What the request gets; the lock is held."""

    @abstractmethod
    def fails(self, method: str, path: str, fault: Fault) -> Answer:
        """The provider's words for a fault."""

    def fault(self, method: str, path: str, size: int) -> Fault | None:
        """The fault that befalls this request; it has one time less to go."""
        with self.lock:
            self.requests.append((method, path, size))
            for fault in self.faults:
                if fault.times > 0 and fault.method in ("", method) and re.search(fault.path, path):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    fault.before()
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    owner: FaultyServer
    daemon_threads = False  # server_close() waits for them


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.server.owner.lock:
            self.server.owner.connections.add(self.connection)

    def finish(self) -> None:
        with self.server.owner.lock:
            self.server.owner.connections.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def _serve(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = owner.fault(self.command, self.path, len(body))
        effect = fault.effect if fault else None
        if effect is Effect.DROP:
            self.close_connection = True
            return
        if effect is Effect.CORRUPT and body:
            body = changed(body)
        if fault and effect is Effect.ANSWER:
            answer = owner.fails(self.command, self.path, fault)
            answer.headers |= fault.headers
        else:
            with owner.lock:
                answer = owner.answer(self.command, self.path, self.headers, body, effect)
        if effect is Effect.CORRUPT and self.command == "GET":
            answer.body = changed(answer.body)
        if effect is Effect.LOSE:
            self.close_connection = True
            if self.command != "GET":
                return
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        if answer.status != 204 and "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: len(answer.body) // 2] if effect is Effect.LOSE else answer.body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        pass


def changed(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
