"""What the stores in buckets have in common: objects that are listed and read below a prefix, and the keys on top of them.

``BucketPrefix`` knows no keys of Slipway: it lists and reads whatever a user has put under a prefix, which is also how
``steps.sources.upload`` reads a model. ``BucketStore`` keeps the promises of ``Store`` on top of it, all but writing: for
that, each provider has conditions of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

from steps.core.digest import read_chunks
from steps.core.errors import Reason, SlipwayError, from_os_error
from steps.core.store import KEY, check_key, object_not_found
from steps.net.retry import SERVER_RETRIES, RetryPolicy, retry_messages
from steps.store.base import StoreBackend
from steps.store.request_retry import ONE_TRY, RequestRetry

CHECKED_NAME = "slipway-doctor"  # the object that a check looks for, and never leaves
CONDITIONS_HINT = "Use a server with conditional writes, such as a recent MinIO or Ceph, the service itself, or a folder."
NOTE_SECONDS = 1.0
FIRST_WRITER = "slipway-first-writer"  # an empty object, see ``BucketStore.require_conditions``


@dataclass(frozen=True)
class BucketObject:
    """One version of one object.

    Attributes:
        name: Its name relative to the prefix.
        size: Bytes.
        version: What the provider names the version by: a generation, an ETag.
        checksum: The server's checksum of the whole object in base64; empty where none is known.
        algorithm: Of the checksum: ``crc32c``, or another name of the provider's.
    """

    name: str
    size: int
    version: str
    checksum: str
    algorithm: str = "crc32c"

    @property
    def fingerprint(self) -> str:
        """A text that changes whenever the object does."""
        return f"{self.version}:{self.checksum}"


class BucketPrefix(ABC):
    """The objects of a bucket whose names begin with ``prefix/`` (all of them where the prefix is empty).

    Attributes:
        scheme: The scheme of its addresses.
        bucket_names: A regular expression of the provider's for names of buckets.
        bucket: The bucket's name.
        prefix: Empty, or the prefix with a slash at its end.
        retry: How each request is tried again.
        note: Gets a line of text when a request is tried again: a step that waits says for what.
    """

    scheme: ClassVar[str]
    bucket_names: ClassVar[str]
    note: Callable[[str], None]

    def __init__(self, bucket: str, prefix: str = "", *, policy: RetryPolicy = SERVER_RETRIES) -> None:
        """Take the names as they are; ``from_uri`` checks them."""
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.note = lambda text: None
        self._noted = -NOTE_SECONDS
        self.retry = RequestRetry(policy, self.transient, self._note_retry)

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """Open ``scheme://bucket/prefix``; raises ``UnsupportedStore`` where it names no bucket."""
        return cls(*parse(uri, cls.scheme, cls.bucket_names))

    @property
    def uri(self) -> str:
        """The address, as ``from_uri`` takes it."""
        return self.locate("").rstrip("/")

    def locate(self, name: str) -> str:
        """Return the address of an object."""
        return f"{self.scheme}://{self.bucket}/{self.prefix}{name}"

    def with_one_try(self) -> Self:
        """Return the same prefix, whose requests are not tried again."""
        return type(self)(self.bucket, self.prefix.rstrip("/"), policy=ONE_TRY)

    def _note_retry(self, error: Exception, wait: float) -> None:
        now = time.monotonic()
        if now - self._noted >= NOTE_SECONDS:  # the parts of an object travel side by side, and fail together
            self._noted = now
            retry_messages(lambda text: self.note(f"{self.uri}: {text}"))(error, wait)

    @staticmethod
    @abstractmethod
    def transient(error: Exception) -> float | None:
        """Return the seconds that a server asks to wait after an error of the client library, as ``RequestRetry`` has it."""

    @abstractmethod
    def objects(self, beginning: str = "") -> list[BucketObject]:
        """List the objects whose names below the prefix begin so, sorted by name.

        The empty ``folder/`` objects that consoles make are left out.
        """

    @abstractmethod
    def find(self, name: str) -> BucketObject | None:
        """Return the object as it is now, or None where there is none."""

    @abstractmethod
    def read(self, found: BucketObject) -> Iterator[bytes]:
        """Yield the bytes of exactly this version, in order.

        Raises:
            SlipwayError: ``DigestMismatch``, before the end, where the bytes are not those of the object's checksum;
                ``StoreUnreadable`` where the version is gone.
        """

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Create a small object if there is none, by a conditional request; whether the server did it."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete an object that ``create`` has made."""

    @property
    @abstractmethod
    def is_providers_own(self) -> bool:
        """Whether the bucket is in the service itself, and not in a server that speaks its protocol."""

    @abstractmethod
    def check(self) -> str:
        """As ``StoreBackend.check``: a phrase on what may be done here."""


PrefixT = TypeVar("PrefixT", bound=BucketPrefix)


class BucketStore(StoreBackend, Generic[PrefixT]):
    """Objects under keys in a bucket, below a prefix."""

    shared = True

    def __init__(self, prefix: PrefixT) -> None:
        """Keep the objects under ``prefix``."""
        self._prefix = prefix
        self._conditions_hold = False

    @classmethod
    @abstractmethod
    def open_prefix(cls, uri: str) -> PrefixT:
        """Open what lies under ``scheme://bucket/prefix``; raises ``UnsupportedStore`` where that names no bucket."""

    @classmethod
    def from_uri(cls, uri: str) -> Self:
        """Open ``scheme://bucket/prefix``; raises ``UnsupportedStore`` where keys cannot follow it."""
        prefix = cls.open_prefix(uri)
        check_prefix(uri, prefix.prefix.rstrip("/"))
        return cls(prefix)

    @property
    def uri(self) -> str:
        """The store's own address."""
        return self._prefix.uri

    def note_retries(self, note: Callable[[str], None]) -> None:
        """Pass a line of text on to ``note`` when a request is tried again."""
        self._prefix.note = note

    def check(self) -> str:
        """Ask the bucket once, without retries, and find out whether the first of two writers wins."""
        once = self._prefix.with_one_try()
        found = once.check()
        if not once.is_providers_own:
            created = once.create(FIRST_WRITER, b"")
            try:
                self._require_refusal(created and once.create(FIRST_WRITER, b""))
            finally:
                if created:
                    with contextlib.suppress(SlipwayError):  # without the right to delete, it stays for the first run
                        once.delete(FIRST_WRITER)
        return found

    def require_conditions(self) -> None:
        """Make sure, at the first use of a bucket, that of two writers of one key the first wins.

        Some servers ignore ``If-None-Match`` and ``ifGenerationMatch``: there two runs at once would overwrite each other's
        objects. A small object is created twice, of which the second time must be refused; it stays, so that later uses need
        one request. The services themselves keep the condition and are not asked.

        Raises:
            SlipwayError: ``UnsupportedStore`` where the server ignores the condition.
        """
        if self._conditions_hold:
            return
        create = self._prefix.create
        self._require_refusal(not self._prefix.is_providers_own and create(FIRST_WRITER, b"") and create(FIRST_WRITER, b""))
        self._conditions_hold = True

    def _require_refusal(self, created_again: bool) -> None:
        if created_again:
            raise SlipwayError(
                Reason.UNSUPPORTED_STORE,
                f"The server of {self.uri} ignores the condition that an object must not exist yet, so that two runs at once "
                "would overwrite each other's objects.",
                hint=CONDITIONS_HINT,
            )

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None where there is none."""
        found = self._prefix.find(check_key(key))
        return found.size if found else None

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of one version of the object; where ``write`` replaces it before the first byte, of the new one."""
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

    def put_file(self, key: str, path: Path) -> bool:
        """Upload a file, which stays where it is."""
        try:
            return self.put(key, read_chunks(path))
        except OSError as error:
            raise from_os_error(error, f"Cannot store {self.locate(key)}", place=Reason.STORE_UNREADABLE) from error

    def copy_to(self, key: str, path: Path) -> None:
        """Download the object to a new file, which appears when it is complete."""
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
            raise from_os_error(error, f"Cannot copy {self.locate(key)} to {path}", place=Reason.STORE_UNREADABLE) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, sorted."""
        yield from (found.name for found in self._prefix.objects(prefix) if found.name != FIRST_WRITER)

    def locate(self, key: str) -> str:
        """Return the object's address."""
        return self._prefix.locate(key)

    def require_same_content(self, key: str, size: int, crc32c: str) -> None:
        """Accept that another writer has published the key first, if its bytes are those of this writer.

        Args:
            key: The key that both have written.
            size: Bytes of this writer's object.
            crc32c: Its checksum in base64.

        Raises:
            SlipwayError: ``PublishConflict`` where the bytes differ; ``StoreBusy`` where the object is gone again.
        """
        first = self._prefix.find(key)
        if first is None:
            raise SlipwayError(Reason.STORE_BUSY, f"Another writer created {self.locate(key)} and deleted it again.")
        if first.size != size or self._crc32c(first) != crc32c:
            raise SlipwayError(
                Reason.PUBLISH_CONFLICT,
                f"Another writer has created {self.locate(key)} with {first.size} bytes, {first.algorithm} {first.checksum}; "
                f"these are {size} bytes, crc32c {crc32c}.",
            )

    def _crc32c(self, found: BucketObject) -> str:
        """The CRC32C of an object in base64."""
        return found.checksum


def without_folders(objects: list[BucketObject]) -> list[BucketObject]:
    """Leave out the empty objects that consoles make for a folder: the prefix itself, and names with a slash at the end."""
    return [each for each in objects if each.size or not (each.name.endswith("/") or not each.name)]


def parse(uri: str, scheme: str, bucket: str) -> tuple[str, str]:
    """Split ``scheme://bucket/prefix`` into bucket and prefix; a slash at the end is left off.

    Args:
        uri: The address.
        scheme: The scheme that it must have.
        bucket: A regular expression of what buckets are called.

    Raises:
        SlipwayError: ``UnsupportedStore`` where the address names no bucket.
    """
    match = re.fullmatch(rf"{scheme}://(?P<bucket>{bucket})(/(?P<prefix>.*))?", uri, re.DOTALL)
    if not match:
        raise SlipwayError(
            Reason.UNSUPPORTED_STORE,
            f"{uri!r} names no bucket: names of buckets have 3 to 63 lower-case letters, digits, dots and dashes.",
            hint=f"Write {scheme}://bucket or {scheme}://bucket/prefix.",
        )
    return match["bucket"], (match["prefix"] or "").rstrip("/")


def check_prefix(uri: str, prefix: str) -> None:
    """Raise ``UnsupportedStore`` where keys cannot follow the prefix of the address ``uri``."""
    if prefix and not KEY.fullmatch(prefix):
        raise SlipwayError(
            Reason.UNSUPPORTED_STORE,
            f"{uri!r} has a prefix that no store can have.",
            hint="Use letters, digits and . _ @ + = - between single slashes.",
        )
