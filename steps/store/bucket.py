"""What the stores in buckets have in common: objects that are listed, found and read below a prefix, and keys on top.

``Prefix`` is the part that knows no keys of ours: it lists and reads whatever a user has put under a prefix. ``BucketStore``
keeps the promises of ``Store`` on top of it, but for writing, which each provider has its own conditions for.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from steps.core.digest import read_chunks
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.store import KEY, check_key, object_not_found


@dataclass(frozen=True)
class BucketObject:
    """One version of one object: ``version`` names it (a generation, an ETag), ``checksum`` is the server's, in base64."""

    name: str  # relative to the prefix
    size: int
    version: str
    checksum: str
    algorithm: str = "crc32c"

    @property
    def fingerprint(self) -> str:
        """Changes whenever the object does."""
        return f"{self.version}:{self.checksum}"


class Prefix(ABC):
    """The objects of a bucket whose names begin with ``prefix/`` (all of them where the prefix is empty).

    ``scheme`` is that of its addresses, ``names`` the pattern of what buckets are called there.
    """

    scheme: ClassVar[str]
    names: ClassVar[str]

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        return cls(*parse(uri, cls.scheme, cls.names))

    @property
    def uri(self) -> str:
        return self.locate("").rstrip("/")

    def locate(self, name: str) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}{name}"

    @abstractmethod
    def objects(self, beginning: str = "") -> list[BucketObject]:
        """What lies under the prefix, sorted by name; the empty ``folder/`` objects that consoles make are left out."""

    @abstractmethod
    def find(self, name: str) -> BucketObject | None:
        """The object as it is now, or None where there is none."""

    @abstractmethod
    def read(self, found: BucketObject) -> Iterator[bytes]:
        """The bytes of exactly this version, in order; ``DigestMismatch`` comes before the end where they are not those
        of the object's checksum, ``StoreUnreadable`` where the version is gone."""


class BucketStore(ABC):
    """Objects under keys in a bucket, below a prefix."""

    def __init__(self, below: Prefix) -> None:
        self._prefix = below

    @property
    def uri(self) -> str:
        return self._prefix.uri

    def size(self, key: str) -> int | None:
        found = self._prefix.find(check_key(key))
        return found.size if found else None

    def read(self, key: str) -> Iterator[bytes]:
        while True:
            found = self._prefix.find(check_key(key))
            if found is None:
                raise object_not_found(self.locate(key))
            parts = self._prefix.read(found)
            try:
                first = next(parts, b"")
                break
            except SlipwayError:
                if self._prefix.find(key) in (None, found):
                    raise  # otherwise ``write`` has replaced this version just now: read the new one
        yield first
        yield from parts

    @abstractmethod
    def put(self, key: str, chunks: Iterable[bytes]) -> bool: ...

    def put_file(self, key: str, path: Path) -> bool:
        try:
            return self.put(key, read_chunks(path))
        except OSError as error:
            raise from_os_error(error, f"Cannot store {self.locate(key)}") from error

    @abstractmethod
    def write(self, key: str, data: bytes) -> None: ...

    def copy_to(self, key: str, path: Path) -> None:
        temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                for chunk in self.read(key):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise from_os_error(error, f"Cannot bring {self.locate(key)} to {path}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[str]:
        yield from (found.name for found in self._prefix.objects(prefix))

    def locate(self, key: str) -> str:
        return self._prefix.locate(key)

    def same(self, key: str, size: int, crc32c: str) -> None:
        """Another writer was first: its bytes must be ours."""
        first = self._prefix.find(key)
        if first is None:
            raise SlipwayError(Reason.STORE_BUSY, f"{self.locate(key)} was made and deleted by others meanwhile.")
        if (first.size, self._crc32c(first) if first.size == size else "") != (size, crc32c):
            raise SlipwayError(
                Reason.PUBLISH_CONFLICT,
                f"{self.locate(key)} was made meanwhile with {first.size} bytes, {first.algorithm} {first.checksum}; "
                f"these are {size} bytes, crc32c {crc32c}.",
            )

    def _crc32c(self, found: BucketObject) -> str:
        return found.checksum


def parse(uri: str, scheme: str, bucket: str) -> tuple[str, str]:
    """``scheme://bucket/prefix`` as bucket and prefix, where ``bucket`` is the pattern of names; a slash at the end is well."""
    match = re.fullmatch(rf"{scheme}://(?P<bucket>{bucket})(/(?P<prefix>.*))?", uri, re.DOTALL)
    if not match:
        raise SlipwayError(
            Reason.UNSUPPORTED_STORE,
            f"{uri!r} names no bucket.",
            hint=f"Write {scheme}://bucket or {scheme}://bucket/prefix.",
        )
    return match["bucket"], (match["prefix"] or "").rstrip("/")


def check_prefix(uri: str, prefix: str) -> str:
    """The prefix, where keys of ours can follow it."""
    if prefix and not KEY.fullmatch(prefix):
        raise SlipwayError(
            Reason.UNSUPPORTED_STORE,
            f"{uri!r} has a prefix that no store can have.",
            hint="Use letters, digits and . _ @ + - between single slashes.",
        )
    return prefix
