"""Layers of an image as byte streams: tar files that hold no time, place or owner of their making.

Entries come sorted, their folders before them; times are 0, the owner is 0:0, modes are 0755 for folders and programs and
0644 for everything else. Weights stay uncompressed, since compression is wasted on them; everything else is compressed by a
pinned library. So a layer's digest is a function of its files alone, on every machine (see ``steps.package.gzip_writer``).
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from steps.core.digest import read_chunks
from steps.core.errors import Reason, SlipwayError
from steps.images.registry.repository import LAYER, Descriptor
from steps.package.gzip_writer import compressed_gzip
from steps.package.tar_writer import FILE_MODE, FOLDER_MODE, PROGRAM_MODE, Entry, tar_file


@dataclass(frozen=True)
class File:
    """A file of a layer: its path in the image, without the leading slash, and where it lies here."""

    path: str
    source: Path
    executable: bool = False


@dataclass(frozen=True)
class Layer:
    """A layer before it is sent.

    Attributes:
        blob: digest, size and media type of what is sent.
        diff_id: digest, ``sha256:…``, of the tar file before compression.
        purpose: what the layer holds, for the image's history.
        chunks: starts the bytes that are sent, anew with each call.
    """

    blob: Descriptor
    diff_id: str
    purpose: str
    chunks: Callable[[], Iterator[bytes]]


def files_below(folder: Path, sources: Sequence[str], root: str) -> list[File]:
    """The files of ``folder`` that are, or lie below, the named sources; in the image they lie below ``root``.

    Only a file that its owner may run is a program in the image. Raises ``UnsafePath`` for what is neither file nor folder.
    """
    found = []
    for source in sources:
        path = folder / source
        for each in [path] if path.is_file() else sorted(path.rglob("*")):
            if each.is_symlink() or not (each.is_file() or each.is_dir()):
                raise SlipwayError(Reason.UNSAFE_PATH, f"{each.relative_to(folder)} is not a regular file.")
            if each.is_file():
                name = PurePosixPath(root.strip("/"), each.relative_to(folder).as_posix())
                found.append(File(str(name), each, bool(each.stat().st_mode & stat.S_IXUSR)))
    return found


def plain_layer(files: Sequence[File], purpose: str) -> Layer:
    """A layer without compression. Its bytes are read here once, and once more when they are sent."""
    digest, size = hashlib.sha256(), 0
    for chunk in layer_tar(files):
        digest.update(chunk)
        size += len(chunk)
    diff_id = f"sha256:{digest.hexdigest()}"
    return Layer(Descriptor(LAYER, diff_id, size), diff_id, purpose, lambda: layer_tar(files))


def compressed_layer(files: Sequence[File], purpose: str, path: Path) -> Layer:
    """A compressed layer, written to ``path``, which must not exist."""
    inside, outside = hashlib.sha256(), hashlib.sha256()

    def plain() -> Iterator[bytes]:
        for chunk in layer_tar(files):
            inside.update(chunk)
            yield chunk

    with path.open("xb") as file:
        for chunk in compressed_gzip(plain()):
            outside.update(chunk)
            file.write(chunk)
        size = file.tell()
    blob = Descriptor(f"{LAYER}+gzip", f"sha256:{outside.hexdigest()}", size)
    return Layer(blob, f"sha256:{inside.hexdigest()}", purpose, lambda: read_chunks(path))


def layer_tar(files: Iterable[File]) -> Iterator[bytes]:
    """The tar file of these files and the folders above them."""
    return tar_file(_entries(files))


def _entries(files: Iterable[File]) -> Iterator[Entry]:
    known: set[PurePosixPath] = set()
    for file in sorted(files, key=lambda file: PurePosixPath(file.path).parts):
        for folder in list(PurePosixPath(file.path).parents)[-2::-1]:
            if folder not in known:
                known.add(folder)
                yield Entry(f"{folder}/", mode=FOLDER_MODE)
        mode = PROGRAM_MODE if file.executable else FILE_MODE
        yield Entry(file.path, file.source.stat().st_size, read_chunks(file.source), mode=mode)
