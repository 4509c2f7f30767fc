"""The store in a Google Cloud Storage bucket: one object under each key.

``GcsStore`` keeps the promises of ``Store`` by the bucket's own rules: an object appears whole when its upload ends, and
``ifGenerationMatch=0`` lets only the first writer in. ``GcsPrefix`` is the part below that knows no keys of ours: it lists
and reads whatever a user has put under a prefix. Both talk through google-cloud-storage, which finds its credentials and
its endpoint (``STORAGE_EMULATOR_HOST``) by itself. Every byte is checked by CRC32C both ways. Trying again is
``patience``'s, reading by ranges ``ranged``'s.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.store import check_key, object_not_found
from steps.net.retry import PATIENCE, TIMEOUT, TRANSIENT, Patience, seconds_asked
from steps.store.bucket import BucketObject, BucketStore, Prefix, check_prefix, parse
from steps.store.gcs_upload import Lost, Upload, crc32c_text
from steps.store.ranged import read_ranges

BUCKET = "[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"  # https://cloud.google.com/storage/docs/buckets#naming


class GcsPrefix(Prefix):
    """The objects of a bucket whose names begin with ``prefix/`` (all of them where the prefix is empty)."""

    scheme, names = "gs", BUCKET

    def __init__(self, bucket: str, prefix: str = "", *, patience: float = PATIENCE) -> None:
        super().__init__(bucket, prefix)
        self.patience = Patience(patience, _asked)

    def objects(self, beginning: str = "") -> list[BucketObject]:
        """What lies under the prefix, sorted by name; the empty ``folder/`` objects that consoles make are left out."""
        with self.errors(self.locate(beginning)):
            pages = self.client.list_blobs(
                self.bucket,
                prefix=self.prefix + beginning,
                fields="items(name,size,generation,crc32c),nextPageToken",
                timeout=TIMEOUT,
                retry=self.patience,
            ).pages
            found = [self._object(blob) for page in pages for blob in page]
        return [each for each in found if each.size or not (each.name.endswith("/") or not each.name)]

    def find(self, name: str) -> BucketObject | None:
        """The object as it is now, or None where there is none."""
        with self.errors(self.locate(name)):
            from google.api_core.exceptions import NotFound

            blob = self.blob(name)
            try:
                blob.reload(timeout=TIMEOUT, retry=self.patience)
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

        blob = self.blob(found.name, int(found.version))

        def fetch(start: int, end: int) -> bytes:
            # One read for a part, instead of the library's loop over 8 KiB, takes a seventh of the CPU time. The
            # retries are around the call, because those within leave connections open.
            return bytes(
                blob.download_as_bytes(
                    start=start,
                    end=end - 1,
                    raw_download=True,
                    single_shot_download=True,
                    checksum=None,
                    timeout=TIMEOUT,
                    retry=None,
                )
            )

        crc = 0
        with contextlib.closing(read_ranges(fetch, found.size, self.patience)) as parts:
            while True:
                with self.errors(self.locate(found.name), exists=True):
                    part = next(parts, None)
                if part is None:
                    break
                crc = google_crc32c.extend(crc, part)
                yield part
        if crc32c_text(crc) != found.checksum:
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{self.locate(found.name)} came with crc32c {crc32c_text(crc)} where the bucket has {found.checksum}.",
            )

    @cached_property
    def client(self) -> Any:
        try:
            import google_crc32c  # noqa: F401
            from google.cloud import storage
        except ImportError as error:
            raise missing_extra("gcp", package=str(error.name), needed_by=self.uri) from None
        from google.auth.exceptions import DefaultCredentialsError

        try:
            return storage.Client(project=None)  # objects belong to buckets; a project is asked for only to make those
        except DefaultCredentialsError as error:
            raise SlipwayError(
                Reason.ACCESS_DENIED,
                f"There are no Google Cloud credentials for {self.uri}: {error}",
                hint="Run `gcloud auth application-default login`, or run under a service account.",
            ) from error

    def blob(self, name: str, generation: int | None = None) -> Any:
        return self.client.bucket(self.bucket).blob(self.prefix + name, generation=generation)

    def _object(self, blob: Any) -> BucketObject:
        name = str(blob.name).removeprefix(self.prefix)
        return BucketObject(name, int(blob.size), str(blob.generation), str(blob.crc32c))

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
                raise object_not_found(where) from error
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
        except (api.GoogleAPIError, auth.GoogleAuthError) as error:
            if isinstance(error, auth.TransportError | api.ServerError) or getattr(error, "code", None) in TRANSIENT:
                raise SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {_say(error)}") from error
            raise SlipwayError(Reason.STORE_UNREADABLE, f"{where} was refused: {_say(error)}") from error
        except (OSError, urllib3.exceptions.HTTPError) as error:  # those of requests are OSErrors
            raise SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {_say(error)}") from error


class GcsStore(BucketStore):
    """Objects under keys in a bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str = "", *, patience: float = PATIENCE) -> None:
        self._below = GcsPrefix(bucket, prefix, patience=patience)
        super().__init__(self._below)

    @classmethod
    def from_uri(cls, uri: str) -> GcsStore:
        bucket, prefix = parse(uri, "gs", BUCKET)
        return cls(bucket, check_prefix(uri, prefix))

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
                    retry=below.patience,
                )
            except PreconditionFailed:
                return False
        upload = Upload(session, below.patience, where)
        try:
            for chunk in chunks:
                with below.errors(where):
                    upload.write(chunk)
            with below.errors(where):
                stored = self._finish(key, upload)
        except BaseException:
            upload.cancel()
            raise
        finally:
            upload.close()
        if stored is None:
            self.same(key, upload.size, upload.crc32c)
            return False
        if stored.get("crc32c") != upload.crc32c:
            with below.errors(where, exists=True):
                below.blob(key, int(stored["generation"])).delete(timeout=TIMEOUT, retry=below.patience)
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{where} was stored with crc32c {stored.get('crc32c')} where {upload.crc32c} was sent.",
            )
        return True

    def _finish(self, key: str, upload: Upload) -> dict[str, Any] | None:
        try:
            return upload.finish()
        except Lost:
            if self.size(key) is None:
                raise
            return None  # another was first, and the answer that said so did not come

    def write(self, key: str, data: bytes) -> None:
        with self._below.errors(self.locate(key)):
            self._below.blob(check_key(key)).upload_from_string(
                data,
                content_type="application/octet-stream",
                checksum="crc32c",
                timeout=TIMEOUT,
                retry=self._below.patience,
            )


def _asked(error: Exception) -> float | None:
    """As ``Patience`` asks: of the answers and broken connections those that pass."""
    import urllib3
    from google.auth.exceptions import TransportError
    from requests import exceptions as requests

    answer = getattr(error, "response", None)  # two of the library's packages raise errors of their own about it
    if (getattr(answer, "status_code", None) or getattr(error, "code", None)) in TRANSIENT:
        return seconds_asked(getattr(answer, "headers", {}).get("Retry-After"))
    broken = (requests.ConnectionError, requests.ChunkedEncodingError, requests.Timeout, ConnectionError)
    return 0.0 if isinstance(error, (*broken, urllib3.exceptions.HTTPError, TransportError)) else None


def _no_bucket(error: Any) -> bool:
    # An object and its bucket are both 404 with reason notFound; only the sentence tells them apart.
    return "bucket does not exist" in str(error)


def _say(error: Any) -> str:
    """What the server said, without addresses: those of uploads are secrets, and all are long."""
    cause = getattr(error, "cause", None) or error
    status = getattr(cause, "code", None) or getattr(getattr(cause, "response", None), "status_code", None)
    text = str(getattr(cause, "message", "")).partition(": ")[2][:300] or type(cause).__name__
    return f"HTTP {int(status)}: {text}" if status else text
