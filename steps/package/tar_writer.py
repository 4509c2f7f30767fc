"""Tar files and gzip members written as streams: the one writer of both, for archives and for the layers of images.

Headers hold no time, owner or host, and the chunks in which a store happens to deliver the bytes leave no trace, so equal
files give equal tar files on every machine. What does not fit a header of 1988 (ustar) goes into a PAX header.

gzip (RFC 1952) holds deflate blocks (RFC 1951), and one member may mix them: *stored* blocks, which cost a copy and a
checksum, for weights, on which compression is wasted (8 % of fp16 at 50 ms a megabyte); compressed blocks for everything
else. Every reader of gzip reads that. Stored blocks are the same everywhere; compressed blocks are the same wherever the same
zlib makes them, since releases and forks of zlib may compress the same bytes differently.
"""

from __future__ import annotations

import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

BLOCK = tarfile.BLOCKSIZE  # bytes
STORED_MAX = 65535  # bytes of a stored block, by RFC 1951
LEVEL = 6  # of compression
FILE_MODE, FOLDER_MODE, PROGRAM_MODE = 0o644, 0o755, 0o755


class Part(NamedTuple):
    """Some bytes of a tar file, and whether they are stored where the file is compressed."""

    data: bytes
    stored: bool = False


@dataclass(frozen=True)
class Entry:
    """A file or a folder of a tar file.

    Attributes:
        path: its path; a folder's ends with a slash.
        size: bytes of a file.
        chunks: the file's bytes, read once.
        stored: whether a gzip member stores the bytes, because compressing them is not worth the time.
        mode: its permissions.
    """

    path: str
    size: int = 0
    chunks: Iterable[bytes] = ()
    stored: bool = False
    mode: int = FILE_MODE

    def header(self) -> bytes:
        """The entry's header, with the PAX header before it where one is needed."""
        info = tarfile.TarInfo(self.path)
        info.size, info.mode = self.size, self.mode
        info.type = tarfile.DIRTYPE if self.path.endswith("/") else tarfile.REGTYPE
        return info.tobuf(tarfile.PAX_FORMAT)


def tar_gz(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The bytes of a ``.tar.gz`` with these entries, sorted by their paths. Raises what ``tar_parts`` raises."""
    return gzip_member(tar_parts(sorted(entries, key=lambda entry: entry.path)))


def tar_parts(entries: Iterable[Entry]) -> Iterator[Part]:
    """The tar file with these entries, in their order.

    Raises:
        ValueError: an entry's chunks are not as many bytes as its size says.
        Exception: whatever reading an entry's chunks raises.
    """
    for entry in entries:
        yield Part(entry.header())
        seen = 0
        for chunk in entry.chunks:
            seen += len(chunk)
            yield Part(chunk, entry.stored)
        if seen != entry.size:
            raise ValueError(f"{entry.path} has {seen} bytes where its header says {entry.size}")
        yield Part(b"\0" * (-seen % BLOCK))
    yield Part(b"\0" * (2 * BLOCK))


def gzip_member(parts: Iterable[Part]) -> Iterator[bytes]:
    """One gzip member with these parts one after the other, without a file name, a time or a system."""
    member = _Member()
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, unknown system
    for data, stored in parts:
        yield from member.store(data) if stored else member.compress(data)
    yield from member.end()


class _Member:
    """The deflate blocks and the trailer of a gzip member."""

    def __init__(self) -> None:
        self._crc = 0
        self._size = 0
        self._deflate: zlib._Compress | None = None
        self._rest = b""  # bytes to be stored that do not fill a block yet

    def compress(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        self._count(data)
        if self._deflate is None:
            yield from self._finish_stored()
            self._deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        if out := self._deflate.compress(data):
            yield out

    def store(self, data: bytes) -> Iterator[bytes]:
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
