"""Tar files written as streams: the one writer of them, for archives and for the layers of images.

Headers hold no time, owner or host, and the chunks in which a store happens to deliver the bytes leave no trace, so equal
files give equal tar files on every machine. What does not fit a header of 1988 (ustar) goes into a PAX header.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from steps.package.gzip_writer import stored_gzip

BLOCK = tarfile.BLOCKSIZE  # bytes
FILE_MODE, FOLDER_MODE, PROGRAM_MODE = 0o644, 0o755, 0o755


@dataclass(frozen=True)
class Entry:
    """A file or a folder of a tar file.

    Attributes:
        path: its path; a folder's ends with a slash.
        size: bytes of a file.
        chunks: the file's bytes, read once.
        mode: its permissions.
    """

    path: str
    size: int = 0
    chunks: Iterable[bytes] = ()
    mode: int = FILE_MODE

    def header(self) -> bytes:
        """The entry's header, with the PAX header before it where one is needed."""
        info = tarfile.TarInfo(self.path)
        info.size, info.mode = self.size, self.mode
        info.type = tarfile.DIRTYPE if self.path.endswith("/") else tarfile.REGTYPE
        return info.tobuf(tarfile.PAX_FORMAT)


def tar_gz(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The bytes of a ``.tar.gz`` with these entries, sorted by their paths, not compressed. Raises what ``tar_file`` raises."""
    return stored_gzip(tar_file(sorted(entries, key=lambda entry: entry.path)))


def tar_file(entries: Iterable[Entry]) -> Iterator[bytes]:
    """The tar file with these entries, in their order.

    Raises:
        ValueError: an entry's chunks are not as many bytes as its size says.
        Exception: whatever reading an entry's chunks raises.
    """
    for entry in entries:
        yield entry.header()
        seen = 0
        for chunk in entry.chunks:
            seen += len(chunk)
            yield chunk
        if seen != entry.size:
            raise ValueError(f"{entry.path} has {seen} bytes where its header says {entry.size}")
        yield b"\0" * (-seen % BLOCK)
    yield b"\0" * (2 * BLOCK)
