"""From an archive to a folder that can be served, built or inspected: nothing in the archive is trusted.

Python's own ``tarfile`` filters were escaped more than once, so none is relied on: a package holds regular files under safe
names and nothing else, each is written by this module, and the archive's digest and the lock inside are checked before anything
uses the folder. ``tarfile`` does not compare the checksum at the end of a gzip member (RFC 1952) either; ``_gunzip`` does.

Few bytes can unpack to many, so nothing is written that was not announced: the lock comes before the model's files, which must
be its files in its sizes, and everything else together has ``MAX_TEXTS`` bytes at most.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from steps.core.chunks import chunk_stream
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.json_reader import DOCUMENT, InvalidJsonError, read_model
from steps.core.lock import SAFE_PATH, Lock, verify_folder
from steps.package.tar_reader import Member, TarLimitError, TarReader

MODEL = "src/model"  # folder of the model's files in a package
LOCK = "src/lock.json"
CHUNK = 1 << 20  # bytes
MAX_TEXTS = 64 << 20  # bytes of all files but the model's: code, descriptions, one example of each input
_FOREIGN = "This is not an archive that Slipway made."


def unpack_archive(chunks: Iterable[bytes], folder: Path, *, sha256: str = "", what: str) -> Lock:
    """Write a package's files into ``folder`` and return its lock, every file of it checked.

    Args:
        chunks: the archive's bytes.
        folder: where the files go; it is made.
        sha256: the digest that the archive itself must have, in hex; empty: any.
        what: names the archive in messages.

    Raises:
        SlipwayError: ``DigestMismatch`` for a damaged archive or another digest, ``LockMismatch`` for files that are not those
            of the lock, ``UnsafePath`` for an entry that is not a regular file under a safe name, or for one that occurs twice,
            ``TooLarge`` for more than a package can have.
    """
    digest = hashlib.sha256()
    stream = chunk_stream(_gunzip(_hashed(chunks, digest)))
    try:
        unpacking = _Unpacking(folder, what)
        tar = TarReader(stream)
        for member in tar:
            unpacking.write(member, tar.contents())
        while stream.read(CHUNK):  # to the last byte, for the digest and the checksum
            pass
    except TarLimitError as error:
        raise SlipwayError(Reason.TOO_LARGE, f"{what} is not taken apart: {error}.", hint=_FOREIGN) from error
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
    lock = _parse_lock(folder, what)
    verify_folder(lock, folder / MODEL)
    return lock


def _parse_lock(folder: Path, what: str) -> Lock:
    try:
        path = folder / LOCK
        if path.stat().st_size > DOCUMENT.size:
            raise InvalidJsonError("it is too large")
        return read_model(path.read_bytes(), Lock)
    except (OSError, InvalidJsonError, ValidationError) as error:
        raise SlipwayError(Reason.LOCK_MISMATCH, f"{what} has no valid {LOCK}.", hint=_FOREIGN) from error


class _Unpacking:
    """Writes the members of one archive."""

    def __init__(self, folder: Path, what: str) -> None:
        self._folder, self._what = folder, what
        self._texts = 0  # bytes
        self._sizes: dict[str, int] | None = None  # of the lock's files by path, once the first of them is there

    def write(self, member: Member, contents: Iterator[bytes]) -> None:
        """Write one member, if it may be there."""
        name, what = member.name, self._what
        if not member.regular or not SAFE_PATH.fullmatch(name):
            raise SlipwayError(Reason.UNSAFE_PATH, f"{what} holds {name!r}, which is not a regular file under a safe name.")
        if name.startswith(f"{MODEL}/"):
            self._check_model_file(name.removeprefix(f"{MODEL}/"), member.size)
        else:
            self._texts += member.size
            if self._texts > MAX_TEXTS:
                raise SlipwayError(
                    Reason.TOO_LARGE, f"{what} has more than {MAX_TEXTS} bytes beside the model's files.", hint=_FOREIGN
                )
        target = self._folder / name
        try:
            _make_folder(target.parent)
            file = target.open("xb")
        except (FileExistsError, NotADirectoryError):
            raise SlipwayError(Reason.UNSAFE_PATH, f"{what} holds {name!r} twice.") from None
        with file:
            os.fchmod(file.fileno(), 0o644)
            for chunk in contents:
                file.write(chunk)

    def _check_model_file(self, path: str, size: int) -> None:
        if self._sizes is None:
            self._sizes = {file.path: file.size for file in _parse_lock(self._folder, self._what).files}
        if path not in self._sizes:
            raise SlipwayError(Reason.LOCK_MISMATCH, f"{self._what} holds {path}, and {path} is not in the lock.")
        if size != self._sizes[path]:
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{self._what} holds {path} with {size} bytes where the lock has {self._sizes[path]}.",
            )


def _make_folder(folder: Path) -> None:
    """With its parents, and readable whatever the umask is: an image made of a package is run by another user."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir()
        folder.chmod(0o755)
