"""A packaged service on its way back: from the archive to a folder that can be served.

Python's own ``tarfile`` filters were escaped more than once, so none is relied on: a package holds plain files under safe
names and nothing else, each is written by us, and the archive's digest and the lock inside are checked before anything uses
the folder.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from steps.errors import Reason, SlipwayError, from_os_error
from steps.lock import SAFE_PATH, Lock, verify_folder

MODEL = "src/model"
LOCK = "src/lock.json"


class _Stream(io.RawIOBase):
    """An iterator of chunks as a readable file that hashes what passes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._rest = b""
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return 0
            self.digest.update(self._rest)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def unpack(chunks: Iterable[bytes], folder: Path, *, sha256: str = "", what: str) -> Lock:
    """Write a package's files into ``folder`` and return its lock, every file of it checked.

    With ``sha256`` the archive itself must have that digest. ``what`` names the archive in messages. Raises
    ``DigestMismatch``, ``LockMismatch`` or ``UnsafePath``.
    """
    stream = _Stream(chunks)
    try:
        with tarfile.open(fileobj=io.BufferedReader(stream, 1 << 20), mode="r|gz") as tar:
            for member in tar:
                _write(tar, member, folder, what)
        while stream.read(1 << 20):  # to the last byte, for the digest
            pass
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{what} is no sound .tar.gz archive: {error}.") from error
    except OSError as error:
        raise from_os_error(error, f"Cannot unpack {what} into {folder}") from error
    found = stream.digest.hexdigest()
    if sha256 and found != sha256:
        raise SlipwayError(
            Reason.DIGEST_MISMATCH,
            f"{what} has sha256 {found} where {sha256} was written.",
            hint=f"The archive changed. Delete it and run again: {what}",
        )
    return read_lock(folder, what)


def read_lock(folder: Path, what: str) -> Lock:
    """The lock inside an unpacked package, the model's files checked against it."""
    try:
        lock = Lock.model_validate_json((folder / LOCK).read_bytes())
    except (OSError, ValidationError) as error:
        raise SlipwayError(
            Reason.LOCK_MISMATCH, f"{what} has no valid {LOCK}.", hint="This is no archive that Slipway made."
        ) from error
    verify_folder(lock, folder / MODEL)
    return lock


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, what: str) -> None:
    if not member.isreg() or not SAFE_PATH.fullmatch(member.name):
        raise SlipwayError(Reason.UNSAFE_PATH, f"{what} holds {member.name!r}, which is no plain file under a safe name.")
    source = tar.extractfile(member)
    assert source is not None, "a regular file has contents"
    target = folder / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        _copy(source, file)


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    while chunk := source.read(1 << 20):
        target.write(chunk)
