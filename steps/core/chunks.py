"""An iterator of chunks as a file: what a store, a server or a program sends, for those who read by bytes or lines."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator

from steps.core.digest import CHUNK


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return 0
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def chunk_stream(chunks: Iterable[bytes]) -> io.BufferedReader:
    """An iterator of chunks as a readable file."""
    return io.BufferedReader(_Chunks(chunks), CHUNK)
