"""From an archive to a folder that can be served, built or inspected: nothing in the archive is trusted.

Python's own ``tarfile`` filters were escaped more than once, so none is relied on: a package holds regular files under safe
names and nothing else, each is written by this module, and the archive's digest and the lock inside are checked before anything
uses the folder. ``tarfile`` does not compare the checksum at the end of a gzip member (RFC 1952) either; ``_gunzip`` does.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.lock import SAFE_PATH, Lock, verify_folder

MODEL = "src/model"  # folder of the model's files in a package
LOCK = "src/lock.json"
CHUNK = 1 << 20  # bytes


class _Stream(io.RawIOBase):
    """An iterator of chunks as a readable file."""

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


def unpack_archive(chunks: Iterable[bytes], folder: Path, *, sha256: str = "", what: str) -> Lock:
    """Write a package's files into ``folder`` and return its lock, every file of it checked.

    Args:
        chunks: the archive's bytes.
        folder: where the files go; it is made.
        sha256: the digest that the archive itself must have, in hex; empty: any.
        what: names the archive in messages.

    Raises:
        SlipwayError: ``DigestMismatch`` for a damaged archive or another digest, ``LockMismatch`` for files that are not those
            of the lock, ``UnsafePath`` for an entry that is not a regular file under a safe name, or for one that occurs twice.
    """
    digest = hashlib.sha256()
    stream = io.BufferedReader(_Stream(_gunzip(_hashed(chunks, digest))), CHUNK)
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                _write(tar, member, folder, what)
        while stream.read(CHUNK):  # to the last byte, for the digest and the checksum
            pass
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{what} is not a valid .tar.gz archive: {error}.") from error
    except OSError as error:
        raise from_os_error(error, f"Cannot unpack {what} into {folder}") from error
    found = digest.hexdigest()
    if sha256 and found != sha256:
        raise SlipwayError(
            Reason.DIGEST_MISMATCH,
            f"{what} has sha256 {found}, not {sha256}.",
            hint=f"The archive changed. Delete it and run again: {what}",
        )
    return read_lock(folder, what)


def _hashed(chunks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The contents of one gzip member. Raises ``zlib.error`` or ``EOFError`` unless it is complete, correct and the last."""
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    for chunk in chunks:
        rest = chunk
        while rest and not member.eof:
            yield member.decompress(rest, CHUNK)
            rest = member.unconsumed_tail
        if rest or member.unused_data:
            raise zlib.error("something follows the end of the data")
    if not member.eof:
        raise EOFError("it ends too early")


def read_lock(folder: Path, what: str) -> Lock:
    """The lock inside an unpacked package, the model's files checked against it."""
    try:
        lock = Lock.model_validate_json((folder / LOCK).read_bytes())
    except (OSError, ValidationError) as error:
        raise SlipwayError(
            Reason.LOCK_MISMATCH, f"{what} has no valid {LOCK}.", hint="This is not an archive that Slipway made."
        ) from error
    verify_folder(lock, folder / MODEL)
    return lock


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, what: str) -> None:
    if not member.isreg() or member.issparse() or not SAFE_PATH.fullmatch(member.name):
        raise SlipwayError(Reason.UNSAFE_PATH, f"{what} holds {member.name!r}, which is not a regular file under a safe name.")
    source = tar.extractfile(member)
    assert source is not None, "a regular file has contents"
    target = folder / member.name
    try:
        _make_folder(target.parent)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise SlipwayError(Reason.UNSAFE_PATH, f"{what} holds {member.name!r} twice.") from None
    with file:
        os.fchmod(file.fileno(), 0o644)
        while chunk := source.read(CHUNK):
            file.write(chunk)


def _make_folder(folder: Path) -> None:
    """With its parents, and readable whatever the umask is: an image made of a package is run by another user."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)
