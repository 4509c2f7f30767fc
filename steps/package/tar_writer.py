"""A ``.tar.gz`` written as a stream: the same bytes every time, weights stored, text compressed.

gzip (RFC 1952) holds deflate blocks (RFC 1951), and one member may mix them: *stored* blocks, which cost a copy and a
checksum, for weights, on which compression is wasted (8 % of fp16 at 50 ms a megabyte); compressed blocks for everything
else. Every reader of gzip reads it. Headers hold no time, owner or host; entries come sorted; the chunks in which a store
happens to deliver the bytes leave no trace.
"""

from __future__ import annotations

import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

BLOCK = tarfile.BLOCKSIZE
STORED_MAX = 65535  # bytes of a stored block, by RFC 1951
LEVEL = 6


@dataclass(frozen=True)
class Entry:
    """One file: its path, its size in bytes, where its bytes come from, and whether compressing them pays."""

    path: str
    size: int
    chunks: Iterable[bytes]
    stored: bool


def tar_gz(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The archive's bytes. An error raised by an entry's chunks passes through and ends the stream."""
    member = _Member()
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, unknown system
    for entry in sorted(entries, key=lambda entry: entry.path):
        yield from member.compressed(_header(entry))
        seen = 0
        for chunk in entry.chunks:
            seen += len(chunk)
            yield from member.stored(chunk) if entry.stored else member.compressed(chunk)
        if seen != entry.size:
            raise ValueError(f"{entry.path} has {seen} bytes where its header says {entry.size}")
        yield from member.compressed(b"\0" * (-seen % BLOCK))
    yield from member.compressed(b"\0" * (2 * BLOCK))
    yield from member.end()


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.path)
    info.size = entry.size
    info.mode = 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


class _Member:
    """One gzip member in the making."""

    def __init__(self) -> None:
        self._crc = 0
        self._size = 0
        self._deflate: zlib._Compress | None = None
        self._rest = b""  # what waits to be stored, less than a block

    def compressed(self, data: bytes) -> Iterator[bytes]:
        self._count(data)
        if self._deflate is None:
            yield from self._finish_stored()
            self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        if out := self._deflate.compress(data):
            yield out

    def stored(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        self._count(data)
        yield from self._finish_compressed()
        view = memoryview(self._rest + data)
        whole = len(view) - len(view) % STORED_MAX
        for begin in range(0, whole, STORED_MAX):
            yield from _stored_block(view[begin : begin + STORED_MAX])
        self._rest = bytes(view[whole:])

    def end(self) -> Iterator[bytes]:
        yield from self._finish_compressed()
        yield from self._finish_stored()
        yield b"\x01\x00\x00\xff\xff"  # a last stored block, empty
        yield struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)

    def _finish_compressed(self) -> Iterator[bytes]:
        if self._deflate is not None:
            # A full flush ends on a byte's border with no back reference reaching over it.
            yield self._deflate.flush(zlib.Z_FULL_FLUSH)
            self._deflate = None

    def _finish_stored(self) -> Iterator[bytes]:
        if self._rest:
            yield from _stored_block(memoryview(self._rest))
            self._rest = b""

    def _count(self, data: bytes) -> None:
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)


def _stored_block(part: memoryview) -> Iterator[bytes]:
    yield struct.pack("<BHH", 0, len(part), len(part) ^ 0xFFFF)
    yield bytes(part)
