"""A line that fails at the n-th byte of what servers send: a mixin for the handler of a server of ours.

wire = Wire(at=5000, effect=Effect.CUT)
with Forge(root, handler=type("Handler", (OverWire, ForgeHandler), {"wire": wire})) as forge:
    …
wire.sent  # bytes of all answers
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar


class Effect(StrEnum):
    """What happens once to an answer in the middle."""

    CUT = "cut"  # the connection ends in good order
    RESET = "reset"  # it ends with RST
    GARBAGE = "garbage"  # the next bytes are others
    EXTRA = "extra"  # there are bytes more
    STALL = "stall"  # nothing comes any more, and the connection stays
    SLOW = "slow"  # the next bytes come one by one


NOISE = bytes(range(255, 191, -1))  # 64 bytes that are no text


@dataclass
class Wire:
    """Counts the bytes of all answers; the effect befalls the answer that has the byte number ``at``, counted from 0."""

    at: int = -1
    effect: Effect = Effect.CUT
    sent: int = 0
    struck: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def split(self, size: int) -> int | None:
        """How many bytes of the next ``size`` are sent before the effect; None where it is not their turn."""
        with self.lock:
            begin = self.sent
            self.sent += size
            if self.struck or not begin <= self.at < self.sent:
                return None
            self.struck = True
            return self.at - begin


class OverWire(BaseHTTPRequestHandler):
    """Mixin of a handler: what it writes goes over ``wire``."""

    wire: ClassVar[Wire]

    def setup(self) -> None:
        """Put the wire before the connection's own file."""
        super().setup()
        self.wfile: Any = _Writer(self.wfile, self.connection, self.wire)


class _Writer:
    def __init__(self, file: Any, connection: socket.socket, wire: Wire) -> None:
        self._file, self._connection, self._wire = file, connection, wire

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        before = self._wire.split(len(data))
        if before is None:
            return int(self._file.write(data))
        self._file.write(data[:before])
        rest = data[before:]
        match self._wire.effect:
            case Effect.CUT:
                self._connection.shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError
            case Effect.RESET:
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._connection.close()
                raise ConnectionAbortedError
            case Effect.GARBAGE:
                self._file.write(NOISE[: len(rest)] + rest[len(NOISE) :])
            case Effect.EXTRA:
                self._file.write(NOISE + rest)
            case Effect.STALL:
                self._wire.over.wait(60)
                raise ConnectionAbortedError
            case Effect.SLOW:
                for byte in rest[:50]:
                    self._file.write(bytes([byte]))
                    time.sleep(0.002)
                self._file.write(rest[50:])
        return len(data)
