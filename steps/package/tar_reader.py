"""A tar file read as a stream, with a limit on everything that its headers can ask for.

``tarfile`` reads a PAX or GNU header whole, however long it is, and understands sparse files, in which a few bytes stand for
terabytes. Here a header in front of a file is ``MAX_HEADER`` bytes at most, and only a name and a size are taken from it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from steps.core.digest import CHUNK

BLOCK = tarfile.BLOCKSIZE
MAX_HEADER = 1 << 20  # bytes; a name of 240 letters needs 300, the attributes of a file in an image some thousand
MAX_HEADERS = 4  # in front of one file
MAX_MEMBERS = 500_000  # a large image has 100 000
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)


class TarLimitError(tarfile.TarError):
    """A tar file that asks for more than is allowed."""


@dataclass(frozen=True)
class Member:
    """One entry: its name, its size in bytes, and whether it is a regular file whose bytes stand in the archive as they are."""

    name: str
    size: int
    regular: bool


class TarReader:
    """The members of a tar file, in order. ``contents`` reads the one that was given last; the next one skips what is left."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self._left = 0  # bytes of the current member that are not read
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """The members. Raises ``tarfile.TarError`` for what is not a tar file, and ``TarLimitError``."""
        for _ in range(MAX_MEMBERS):
            member = self._next()
            if member is None:
                return
            yield member
            for _chunk in self.contents():
                pass
            self._read(self._padding)
        raise TarLimitError(f"it has more than {MAX_MEMBERS} files")

    def contents(self) -> Iterator[bytes]:
        """The current member's bytes. Raises ``tarfile.ReadError`` where they end too early."""
        while self._left:
            chunk = self._stream.read(min(CHUNK, self._left))
            if not chunk:
                raise tarfile.ReadError("it ends too early")
            self._left -= len(chunk)
            yield chunk

    def _next(self) -> Member | None:
        name: str | None = None
        size: int | None = None
        sparse = False
        for _ in range(MAX_HEADERS + 1):
            block = self._stream.read(BLOCK)
            if block.count(0) == len(block):  # the end of the archive, or of the stream
                return None
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            if info.size < 0:
                raise tarfile.ReadError("a size in it is negative")
            if info.type not in (_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK):
                self._left = info.size if size is None else size
                if info.type not in _REGULAR and info.type != tarfile.CONTTYPE and info.type != tarfile.GNUTYPE_SPARSE:
                    self._left = 0 if info.type in tarfile.SUPPORTED_TYPES else self._left  # links and folders have no bytes
                self._padding = -self._left % BLOCK
                return Member(info.name if name is None else name, self._left, info.type in _REGULAR and not sparse)
            if info.size > MAX_HEADER:
                raise TarLimitError(f"a header in it has {info.size} bytes, and {MAX_HEADER} are allowed")
            header = self._read(info.size + -info.size % BLOCK)[: info.size]
            if info.type == _LONG_NAME:
                name = header.rstrip(b"\0").decode(errors="surrogateescape")
            elif info.type == _PAX:
                for key, value in _records(header):
                    sparse |= key.startswith(b"GNU.sparse.")
                    if key == b"path":
                        name = value.decode(errors="surrogateescape")
                    elif key == b"size":
                        size = _number(value)
        raise TarLimitError(f"more than {MAX_HEADERS} headers stand in front of one file")

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size) if size else b""
        if len(data) != size:
            raise tarfile.ReadError("it ends too early")
        return data


def _records(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a PAX header (POSIX.1-2001, pax): ``LENGTH KEY=VALUE`` and a line break, LENGTH being of all of it."""
    position = 0
    while position < len(header):
        length, space, _ = header[position : position + 20].partition(b" ")
        end = position + _number(length)
        key, equals, value = header[position + len(length) + 1 : end - 1].partition(b"=")
        if not space or not equals or not position < end <= len(header) or header[end - 1 : end] != b"\n":
            raise tarfile.ReadError("a header in it is malformed")
        yield key, value
        position = end


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise tarfile.ReadError("a number in it is malformed")
    return int(text)
