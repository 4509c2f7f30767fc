"""Layers as byte streams: tar files that say nothing of when, where and by whom they were made.

Entries come sorted, their folders before them; times are 0, the owner is 0:0, modes are 0755 for folders and programs and
0644 for everything else; what does not fit a header of 1988 goes into a PAX header. Weights stay as they are, since
compression is wasted on them: their layer's digest is a function of the lock's files alone. Everything else is compressed
with zlib, whose output has been the same since its version 1.2.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from steps.core.digest import read_chunks
from steps.core.errors import Reason, SlipwayError
from steps.images.registry.repository import LAYER, Descriptor

LEVEL = 6


@dataclass(frozen=True)
class File:
    """A file of a layer: its path in the image, without the leading slash, and where it lies here."""

    path: str
    source: Path
    executable: bool = False


@dataclass(frozen=True)
class Layer:
    """A layer with what is known of it before it is sent. ``diff_id`` is the digest of the tar file before compression."""

    blob: Descriptor
    diff_id: str
    purpose: str
    chunks: Callable[[], Iterator[bytes]]


def files_below(folder: Path, sources: Sequence[str], root: str) -> list[File]:
    """The files of ``folder`` that are, or lie below, the named sources; in the image they lie below ``root``.

    Only a file that its owner may run stays a program. Raises ``UnsafePath`` for what is neither file nor folder.
    """
    found = []
    for source in sources:
        path = folder / source
        for each in [path] if path.is_file() else sorted(path.rglob("*")):
            if each.is_symlink() or not (each.is_file() or each.is_dir()):
                raise SlipwayError(Reason.UNSAFE_PATH, f"{each.relative_to(folder)} is no plain file.")
            if each.is_file():
                name = PurePosixPath(root.strip("/"), each.relative_to(folder).as_posix())
                found.append(File(str(name), each, bool(each.stat().st_mode & stat.S_IXUSR)))
    return found


def plain_layer(files: Sequence[File], purpose: str) -> Layer:
    """A layer without compression. Its bytes are read here once, and once more when they are sent."""
    digest, size = hashlib.sha256(), 0
    for chunk in tar(files):
        digest.update(chunk)
        size += len(chunk)
    diff_id = f"sha256:{digest.hexdigest()}"
    return Layer(Descriptor(LAYER, diff_id, size), diff_id, purpose, lambda: tar(files))


def zipped_layer(files: Sequence[File], purpose: str, path: Path) -> Layer:
    """A compressed layer, written to ``path``."""
    inside, outside = hashlib.sha256(), hashlib.sha256()

    def noted() -> Iterator[bytes]:
        for chunk in tar(files):
            inside.update(chunk)
            yield chunk

    with path.open("xb") as file:
        for chunk in gzip(noted()):
            outside.update(chunk)
            file.write(chunk)
        size = file.tell()
    blob = Descriptor(f"{LAYER}+gzip", f"sha256:{outside.hexdigest()}", size)
    return Layer(blob, f"sha256:{inside.hexdigest()}", purpose, lambda: read_chunks(path))


def tar(files: Iterable[File]) -> Iterator[bytes]:
    """The tar file of these files and the folders above them."""
    known: set[PurePosixPath] = set()
    for file in sorted(files, key=lambda file: PurePosixPath(file.path).parts):
        for folder in list(PurePosixPath(file.path).parents)[-2::-1]:
            if folder not in known:
                known.add(folder)
                yield _header(f"{folder}/", 0, tarfile.DIRTYPE, 0o755)
        size = file.source.stat().st_size
        yield _header(file.path, size, tarfile.REGTYPE, 0o755 if file.executable else 0o644)
        yield from read_chunks(file.source)
        yield b"\0" * (-size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """One member of gzip (RFC 1952) without a name, a time or a system."""
    deflate, crc, size = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS), 0, 0
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    for chunk in chunks:
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
        if out := deflate.compress(chunk):
            yield out
    yield deflate.flush()
    yield struct.pack("<II", crc, size & 0xFFFFFFFF)


def _header(path: str, size: int, kind: bytes, mode: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.size, info.type, info.mode = size, kind, mode
    return info.tobuf(tarfile.PAX_FORMAT)
