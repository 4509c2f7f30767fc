"""The store in a Google Cloud Storage bucket: one object under each key.

``GcsStore`` keeps the promises of ``Store`` by the bucket's own rules: an object appears whole when its upload ends, and
``ifGenerationMatch=0`` lets only the first writer in. ``GcsPrefix`` is the part below that knows no keys of ours: it lists
and reads whatever a user has put under a prefix. Both talk through google-cloud-storage, which finds its credentials and
its endpoint (``STORAGE_EMULATOR_HOST``) by itself. Every byte is checked by CRC32C both ways.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from steps.digest import read_file
from steps.errors import Reason, SlipwayError, from_os_error
from steps.store import KEY, check_key, missing
from steps.store.resumable import PART, TIMEOUT, Upload, crc32c_text

PATIENCE = 120.0  # seconds of retries for one request

# https://cloud.google.com/storage/docs/buckets#naming
_URI = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(/(?P<prefix>.*))?", re.DOTALL)


@dataclass(frozen=True)
class BucketObject:
    """One version of one object: ``generation`` names it, ``crc32c`` is the server's checksum (base64, big-endian)."""

    name: str  # relative to the prefix
    size: int
    generation: int
    crc32c: str

    @property
    def fingerprint(self) -> str:
        """Changes whenever the object does."""
        return f"{self.generation}:{self.crc32c}"


class GcsPrefix:
    """The objects of a bucket whose names begin with ``prefix/`` (all of them where the prefix is empty)."""

    def __init__(self, bucket: str, prefix: str = "", *, patience: float = PATIENCE) -> None:
        self.bucket = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self.patience = patience

    @classmethod
    def from_uri(cls, uri: str) -> GcsPrefix:
        return cls(*_parse(uri))

    @property
    def uri(self) -> str:
        return f"gs://{self.bucket}/{self.prefix}".rstrip("/")

    def locate(self, name: str) -> str:
        return f"gs://{self.bucket}/{self.prefix}{name}"

    def objects(self, beginning: str = "") -> list[BucketObject]:
        """What lies under the prefix, sorted by name; the empty ``folder/`` objects that consoles make are left out."""
        with self.errors(self.locate(beginning)):
            blobs = self.client.list_blobs(
                self.bucket,
                prefix=self.prefix + beginning,
                fields="items(name,size,generation,crc32c),nextPageToken",
                timeout=TIMEOUT,
                retry=self.retry,
            )
            found = [self._object(blob) for blob in blobs]
        return [each for each in found if each.size or not (each.name.endswith("/") or not each.name)]

    def find(self, name: str) -> BucketObject | None:
        """The object as it is now, or None where there is none."""
        with self.errors(self.locate(name)):
            from google.api_core.exceptions import NotFound

            blob = self.blob(name)
            try:
                blob.reload(timeout=TIMEOUT, retry=self.retry)
            except NotFound as error:
                if _no_bucket(error):
                    raise
                return None
            return self._object(blob)

    def read(self, found: BucketObject) -> Iterator[bytes]:
        """The stored bytes of exactly this version in parts of at most ``PART``.

        ``DigestMismatch`` comes before the end where they are not those of the object's checksum. An object stored with
        ``Content-Encoding: gzip`` comes as it is stored.
        """
        import google_crc32c

        crc = 0
        for start in range(0, found.size, PART):
            with self.errors(self.locate(found.name), exists=True):
                # One read for a part, instead of the library's loop over 8 KiB, takes a seventh of the CPU time. The
                # retries are around the call, because those within leave connections open.
                download = self.retry(self.blob(found.name, found.generation).download_as_bytes)
                part = download(
                    start=start,
                    end=min(start + PART, found.size) - 1,
                    raw_download=True,
                    single_shot_download=True,
                    checksum=None,
                    timeout=TIMEOUT,
                    retry=None,
                )
            crc = google_crc32c.extend(crc, part)
            yield part
        if crc32c_text(crc) != found.crc32c:
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{self.locate(found.name)} came with crc32c {crc32c_text(crc)} where the bucket has {found.crc32c}.",
            )

    @cached_property
    def client(self) -> Any:
        try:
            import google_crc32c  # noqa: F401
            from google.cloud import storage
        except ImportError as error:
            raise SlipwayError(
                Reason.MISSING_DEPENDENCY,
                f"{self.uri} needs the package {error.name}, which is not installed.",
                hint="pip install 'slipway[gcp]'",
            ) from None
        from google.auth.exceptions import DefaultCredentialsError

        try:
            return storage.Client(project=None)  # objects belong to buckets; a project is asked for only to make those
        except DefaultCredentialsError as error:
            raise SlipwayError(
                Reason.ACCESS_DENIED,
                f"There are no Google Cloud credentials for {self.uri}: {error}",
                hint="Run `gcloud auth application-default login`, or run under a service account.",
            ) from error

    @property
    def retry(self) -> Any:
        from google.cloud.storage.retry import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(self.patience)

    def blob(self, name: str, generation: int | None = None) -> Any:
        return self.client.bucket(self.bucket).blob(self.prefix + name, generation=generation)

    def _object(self, blob: Any) -> BucketObject:
        name = str(blob.name).removeprefix(self.prefix)
        return BucketObject(name, int(blob.size), int(blob.generation), str(blob.crc32c))

    @contextlib.contextmanager
    def errors(self, where: str, *, exists: bool = False) -> Iterator[None]:
        """Give what the library raises its reason; what is not found is the bucket unless the object should exist."""
        _ = self.client  # where the package or the credentials are missing, this says so
        import urllib3
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption

        try:
            yield
        except DataCorruption as error:
            raise SlipwayError(Reason.DIGEST_MISMATCH, f"{where} was damaged on its way.") from error
        except api.NotFound as error:
            if exists and not _no_bucket(error):
                raise missing(where) from error
            raise SlipwayError(
                Reason.STORE_UNREADABLE,
                f"The bucket {self.bucket} does not exist.",
                hint=f"Check the name, or make it: gcloud storage buckets create gs://{self.bucket}",
            ) from error
        except (api.Unauthorized, api.Forbidden, auth.RefreshError, auth.InvalidOperation) as error:
            raise SlipwayError(
                Reason.ACCESS_DENIED,
                f"{where} is denied: {_say(error)}",
                hint=f"Grant roles/storage.objectUser on the bucket {self.bucket} to the account that runs this.",
            ) from error
        except (api.TooManyRequests, api.ServerError, api.RetryError, auth.TransportError) as error:
            raise SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {_say(error)}") from error
        except (api.GoogleAPIError, auth.GoogleAuthError) as error:
            raise SlipwayError(Reason.STORE_UNREADABLE, f"{where} was refused: {_say(error)}") from error
        except (OSError, urllib3.exceptions.HTTPError) as error:  # those of requests are OSErrors
            raise SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {_say(error)}") from error


class GcsStore:
    """Objects under keys in a bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str = "", *, patience: float = PATIENCE) -> None:
        self._below = GcsPrefix(bucket, prefix, patience=patience)

    @classmethod
    def from_uri(cls, uri: str) -> GcsStore:
        bucket, prefix = _parse(uri)
        if prefix and not KEY.fullmatch(prefix):
            raise SlipwayError(
                Reason.UNSUPPORTED_STORE,
                f"{uri!r} has a prefix that no store can have.",
                hint="Use letters, digits and . _ @ + - between single slashes.",
            )
        return cls(bucket, prefix)

    @property
    def uri(self) -> str:
        return self._below.uri

    def size(self, key: str) -> int | None:
        found = self._below.find(check_key(key))
        return found.size if found else None

    def read(self, key: str) -> Iterator[bytes]:
        while True:
            found = self._below.find(check_key(key))
            if found is None:
                raise missing(self.locate(key))
            parts = self._below.read(found)
            try:
                first = next(parts, b"")
                break
            except SlipwayError:
                if self._below.find(key) in (None, found):
                    raise  # otherwise ``write`` has replaced this version just now: read the new one
        yield first
        yield from parts

    def put(self, key: str, chunks: Iterable[bytes]) -> bool:
        if self.size(key) is not None:
            return False
        below = self._below
        where = self.locate(key)
        with below.errors(where):
            from google.api_core.exceptions import PreconditionFailed

            try:
                session = below.blob(key).create_resumable_upload_session(
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    timeout=TIMEOUT,
                    retry=below.retry,
                )
            except PreconditionFailed:
                return False
        upload = Upload(session, below.retry, where)
        try:
            for chunk in chunks:
                with below.errors(where):
                    upload.write(chunk)
            with below.errors(where):
                stored = upload.finish()
        except BaseException:
            upload.cancel()
            raise
        finally:
            upload.close()
        if stored is None:
            self._same(key, upload)
            return False
        if stored.get("crc32c") != upload.crc32c:
            with below.errors(where, exists=True):
                below.blob(key, int(stored["generation"])).delete(timeout=TIMEOUT, retry=below.retry)
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{where} was stored with crc32c {stored.get('crc32c')} where {upload.crc32c} was sent.",
            )
        return True

    def put_file(self, key: str, path: Path) -> bool:
        try:
            return self.put(key, read_file(path))
        except OSError as error:
            raise from_os_error(error, f"Cannot store {self.locate(key)}") from error

    def write(self, key: str, data: bytes) -> None:
        with self._below.errors(self.locate(key)):
            self._below.blob(check_key(key)).upload_from_string(
                data,
                content_type="application/octet-stream",
                checksum="crc32c",
                timeout=TIMEOUT,
                retry=self._below.retry,
            )

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
        yield from (found.name for found in self._below.objects(prefix))

    def locate(self, key: str) -> str:
        return self._below.locate(key)

    def _same(self, key: str, upload: Upload) -> None:
        """Another writer was first: its bytes must be ours."""
        first = self._below.find(key)
        if first is None:
            raise SlipwayError(Reason.STORE_BUSY, f"{self.locate(key)} was made and deleted by others meanwhile.")
        if (first.size, first.crc32c) != (upload.size, upload.crc32c):
            raise SlipwayError(
                Reason.PUBLISH_CONFLICT,
                f"{self.locate(key)} was made meanwhile with {first.size} bytes, crc32c {first.crc32c}; "
                f"these are {upload.size} bytes, crc32c {upload.crc32c}.",
            )


def _parse(uri: str) -> tuple[str, str]:
    """``gs://bucket/prefix`` as bucket and prefix; both a missing slash and one at the end are well."""
    match = _URI.fullmatch(uri)
    if not match:
        raise SlipwayError(
            Reason.UNSUPPORTED_STORE, f"{uri!r} names no bucket.", hint="Write gs://bucket or gs://bucket/prefix."
        )
    return match["bucket"], (match["prefix"] or "").rstrip("/")


def _no_bucket(error: Any) -> bool:
    # An object and its bucket are both 404 with reason notFound; only the sentence tells them apart.
    return "bucket does not exist" in str(error)


def _say(error: Any) -> str:
    """What the server said, without addresses: those of uploads are secrets, and all are long."""
    cause = getattr(error, "cause", None) or error
    status = getattr(cause, "code", None) or getattr(getattr(cause, "response", None), "status_code", None)
    text = str(getattr(cause, "message", "")).partition(": ")[2][:300] or type(cause).__name__
    return f"HTTP {int(status)}: {text}" if status else text
