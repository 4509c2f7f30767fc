r"""The lock: which bytes a model is, fixed by fetch and checked by every later step.

A lock lists each file's path, size and SHA-256, sorted by path, where they came from, and one *set digest* over the list,
the SHA-256 of the lines ``<sha256> <size> <path>\n``. The set digest names the model's content in the
archive, the image's label and ``status``. Equal files have an equal set digest, whatever address they came from.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from steps.core.digest import sha256_bytes, sha256_file
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.wording import worded

DIGEST_PATTERN = worded(r"^([0-9a-f]{64})?$", "write the 64 hex digits of a SHA-256 digest, or nothing")
Sha256 = Annotated[str, StringConstraints(pattern=worded(r"^[0-9a-f]{64}$", "write the 64 hex digits of a SHA-256 digest"))]

# Letters, digits and a few marks, no leading dot or dash in any part: nothing that has a special meaning in a shell, a
# Dockerfile, a URL or a file system.
SAFE_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=-]*(/[A-Za-z0-9_][A-Za-z0-9._+@=-]*)*")
MAX_PATH = 240


class LockedFile(BaseModel):
    """One file of the model: its path relative to the model's folder, its size in bytes and its SHA-256."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(max_length=MAX_PATH)
    size: int = Field(ge=0)
    sha256: Sha256

    @property
    def key(self) -> str:
        """The store key of the file's content."""
        return blob_key(self.sha256)


class Lock(BaseModel):
    """The files of one model at one revision; validation refuses one whose set digest, order or paths are wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    source_kind: str = Field(description="The kind of source, as in the Model's ``sourceKind``.")
    source: str = Field(description="The address that the files came from.")
    revision: str = Field(description="The commit, or empty where the source has none.")
    files: tuple[LockedFile, ...] = Field(min_length=1)
    set_digest: Sha256

    @model_validator(mode="after")
    def _consistent(self) -> Lock:
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("the files are not sorted by path, each once")
        for path in paths:
            if not SAFE_PATH.fullmatch(path):
                raise ValueError(f"{path!r} is not a safe path")
        if set_digest(self.files) != self.set_digest:
            raise ValueError("the set digest is not that of the files")
        return self

    @classmethod
    def from_files(cls, files: Iterable[LockedFile], *, source_kind: str, source: str, revision: str) -> Lock:
        """Make the lock of these files, in any order. Raises ``ValidationError`` for unsafe or repeated paths."""
        ordered = tuple(sorted(files, key=lambda file: file.path))
        return cls(
            source_kind=source_kind,
            source=source,
            revision=revision,
            files=ordered,
            set_digest=set_digest(ordered),
        )

    @property
    def size(self) -> int:
        """The size of all files together, in bytes."""
        return sum(file.size for file in self.files)

    @property
    def weights(self) -> tuple[LockedFile, ...]:
        """The files that hold weights."""
        return tuple(file for file in self.files if file.path.endswith(".safetensors"))


def blob_key(sha256: str) -> str:
    """Return the store key of content with this SHA-256."""
    return f"blobs/sha256/{sha256[:2]}/{sha256}"


def set_digest(files: Iterable[LockedFile]) -> str:
    """Return the digest over a sorted list of files; the module's docstring has the text that is hashed."""
    return sha256_bytes("".join(f"{file.sha256} {file.size} {file.path}\n" for file in files).encode())


def verify_folder(lock: Lock, folder: Path) -> None:
    """Check that ``folder`` holds exactly the lock's files, as regular files, byte by byte.

    Raises ``LockMismatch`` for a missing or additional file, ``UnsafePath`` for what is not a regular file, and
    ``DigestMismatch`` for a changed one.
    """
    expected = {file.path for file in lock.files}

    def fail(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # then its files are missing, which is reported below
            raise from_os_error(error, f"Cannot list {folder}") from error

    for parent, folders, names in os.walk(folder, onerror=fail):
        for name in [*folders, *names]:
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise SlipwayError(Reason.UNSAFE_PATH, f"{relative} is not a regular file.")
            if relative not in expected:
                raise SlipwayError(Reason.LOCK_MISMATCH, f"{relative} is not in the lock.")
    for file in lock.files:
        verify_file(file, folder / file.path)


def verify_file(file: LockedFile, path: Path) -> None:
    """Check one file's size and digest; raises ``LockMismatch`` when it does not exist, ``DigestMismatch`` when it differs."""
    if not path.is_file():
        raise SlipwayError(Reason.LOCK_MISMATCH, f"{file.path} of the lock is not at {path}.")
    size = path.stat().st_size
    if size != file.size:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{path} has {size} bytes where the lock has {file.size}.")
    found = sha256_file(path)
    if found != file.sha256:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{path} has sha256 {found} where the lock has {file.sha256}.")
