"""The store in a Google Cloud Storage bucket: one object under each key.

``GcsStore`` keeps the promises of ``Store`` by the bucket's own rules: an object appears whole when its upload ends, and the
precondition ``ifGenerationMatch=0`` lets only the first writer publish
(https://cloud.google.com/storage/docs/request-preconditions). ``GcsPrefix`` lists and reads whatever a user has put under a
prefix. Every byte is checked by CRC32C in both directions. ``gcs_client`` has the library's client and errors,
``gcs_upload`` the upload, ``ranged`` the reading by ranges.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import cached_property

from steps.core.errors import Reason, SlipwayError
from steps.core.store import check_key
from steps.store import gcs_client
from steps.store.bucket import CHECKED_NAME, BucketObject, BucketPrefix, BucketStore, without_folders
from steps.store.gcs_client import Blob, Client
from steps.store.gcs_upload import ResumableUpload, SessionGone, UploadedObject, crc32c_text
from steps.store.ranged import read_ranges
from steps.store.request_retry import TIMEOUT

# What a store does: it creates objects, reads and lists them, and replaces its records, which Google counts as deleting.
PERMISSIONS = ("storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list")
CHECK_TIMEOUT = 10.0  # seconds


class GcsPrefix(BucketPrefix):
    """The objects under ``gs://bucket/prefix``."""

    scheme = "gs"
    bucket_names = "[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"  # https://cloud.google.com/storage/docs/buckets#naming
    transient = staticmethod(gcs_client.transient)

    def objects(self, beginning: str = "") -> list[BucketObject]:
        """List the objects whose names below the prefix begin so, sorted by name."""
        with self.slipway_errors(self.locate(beginning)):
            pages = self.client.list_blobs(
                self.bucket,
                prefix=self.prefix + beginning,
                fields="items(name,size,generation,crc32c),nextPageToken",
                timeout=TIMEOUT,
                retry=self.retry,
            ).pages
            return without_folders([self._to_object(blob) for page in pages for blob in page])

    def find(self, name: str) -> BucketObject | None:
        """Return the object as it is now, or None where there is none."""
        with self.slipway_errors(self.locate(name)):
            from google.api_core.exceptions import NotFound

            blob = self.blob(name)
            try:
                blob.reload(timeout=TIMEOUT, retry=self.retry)
            except NotFound as error:
                if gcs_client.is_about_bucket(error):
                    raise
                return None
            return self._to_object(blob)

    def read(self, found: BucketObject) -> Iterator[bytes]:
        """Yield the stored bytes of exactly this version, in parts of at most ``ranged.PART``.

        An object stored with ``Content-Encoding: gzip`` comes as it is stored. Raises ``DigestMismatch`` before the end where
        the bytes are not those of the object's checksum, ``StoreUnreadable`` where the version is gone.
        """
        import google_crc32c

        blob = self.blob(found.name, int(found.version))

        def download(start: int, end: int) -> bytes:
            # One read for a part, instead of the library's loop over 8 KiB, takes a seventh of the CPU time. The
            # retries are around the call, because those within leave connections open.
            data = blob.download_as_bytes(
                start=start,
                end=end - 1,
                raw_download=True,
                single_shot_download=True,
                checksum=None,
                timeout=TIMEOUT,
                retry=None,
            )
            return bytes(data)

        crc = 0
        with contextlib.closing(read_ranges(download, found.size, self.retry)) as parts:
            while True:
                with self.slipway_errors(self.locate(found.name), exists=True):
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

    def read_end(self, found: BucketObject, size: int) -> bytes:
        """Return the last ``size`` bytes of this version, or all of it where it is shorter; no checksum covers a part."""
        blob = self.blob(found.name, int(found.version))
        with self.slipway_errors(self.locate(found.name), exists=True):
            return self.retry(blob.download_as_bytes)(
                start=max(0, found.size - size),
                end=found.size - 1,
                single_shot_download=True,
                checksum=None,
                timeout=TIMEOUT,
                retry=None,
            )

    def check(self) -> str:
        """Ask for one's permissions on the bucket.

        https://cloud.google.com/storage/docs/json_api/v1/buckets/testIamPermissions
        """
        self.find(CHECKED_NAME)  # raises where the bucket does not answer or does not exist
        with self.slipway_errors(self.uri):
            from google.api_core.exceptions import MethodNotAllowed, MethodNotImplemented, NotFound

            bucket = self.client.bucket(self.bucket)
            try:
                granted = bucket.test_iam_permissions(PERMISSIONS, timeout=CHECK_TIMEOUT, retry=None)
            except (NotFound, MethodNotAllowed, MethodNotImplemented):  # a server without permissions, not Google's
                return "it answers, and does not say what may be done in it"
        if missing := [each.rpartition(".")[2] for each in PERMISSIONS if each not in granted]:
            command = f"gcloud storage buckets add-iam-policy-binding gs://{self.bucket} --role=roles/storage.objectUser"
            raise SlipwayError(
                Reason.ACCESS_DENIED,
                f"you may not {', '.join(missing)} objects",
                hint=f"{command} --member={gcs_client.identity()[1]}",
            )
        return "objects may be created, read, listed and replaced (its permissions were asked)"

    def create(self, name: str, data: bytes) -> bool:
        """Create a small object if there is none, by a conditional request; whether the server did it."""
        with self.slipway_errors(self.locate(name)):
            from google.api_core.exceptions import PreconditionFailed

            blob = self.blob(name)
            try:
                blob.upload_from_string(
                    data,
                    content_type="application/octet-stream",
                    checksum="crc32c",
                    if_generation_match=0,
                    timeout=TIMEOUT,
                    retry=self.retry,
                )
            except PreconditionFailed:
                return False
            require_generation(blob)
            return True

    def delete(self, name: str) -> None:
        """Delete an object."""
        with self.slipway_errors(self.locate(name), exists=True):
            self.blob(name).delete(timeout=TIMEOUT, retry=self.retry)

    @property
    def is_providers_own(self) -> bool:
        """Whether the bucket is Google's: an emulator is named in the library's own variable."""
        return not os.environ.get("STORAGE_EMULATOR_HOST")

    @cached_property
    def client(self) -> Client:
        """The library's client, made when it is needed first."""
        return gcs_client.connect(self.uri)

    def blob(self, name: str, generation: int | None = None) -> Blob:
        """Return the library's object for a name below the prefix, at its newest generation or this one."""
        return self.client.bucket(self.bucket).blob(self.prefix + name, generation=generation)

    @contextlib.contextmanager
    def slipway_errors(self, where: str, *, exists: bool = False) -> Iterator[None]:
        """Raise what the library raises about ``where`` as a ``SlipwayError``; see ``gcs_client.slipway_errors``."""
        _ = self.client  # first of all, since its error is the one for a missing library or missing credentials
        with gcs_client.slipway_errors(self.bucket, where, exists=exists):
            yield

    def _to_object(self, blob: Blob) -> BucketObject:
        name = str(blob.name).removeprefix(self.prefix)
        require_generation(blob)
        return BucketObject(name, int(blob.size), str(blob.generation), str(blob.crc32c))


def require_generation(blob: Blob) -> None:
    """Raise ``ValueError`` where the answer about an object, which the library takes as it comes, names no version of it."""
    if blob.generation is None:
        raise ValueError(f"the answer names no generation of {blob.name}")


class GcsStore(BucketStore[GcsPrefix]):
    """Objects under keys in ``gs://bucket/prefix``."""

    scheme = GcsPrefix.scheme
    example = "gs://BUCKET/PREFIX"
    title = "Google Cloud Storage"
    environment = ("STORAGE_EMULATOR_HOST", "GOOGLE_*", "CLOUDSDK_*", "GCE_METADATA_*", "NO_GCE_CHECK")
    google_cloud = True

    @classmethod
    def open_prefix(cls, uri: str) -> GcsPrefix:
        """Open what lies under ``gs://bucket/prefix``."""
        return GcsPrefix.from_uri(uri)

    def put(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Create the object from a stream, if absent, by one resumable upload."""
        if self.size(key) is not None:
            return False
        self.require_conditions()
        prefix, where = self._prefix, self.locate(key)
        with prefix.slipway_errors(where):
            from google.api_core.exceptions import PreconditionFailed

            try:
                session = prefix.blob(key).create_resumable_upload_session(
                    content_type="application/octet-stream",
                    if_generation_match=0,
                    timeout=TIMEOUT,
                    retry=prefix.retry,
                )
            except PreconditionFailed:
                return False
        upload = ResumableUpload(session, prefix.retry, where)
        try:
            for chunk in chunks:
                with prefix.slipway_errors(where):
                    upload.write(chunk)
            with prefix.slipway_errors(where):
                stored = self._finish(key, upload)
        except BaseException:
            upload.cancel()
            raise
        finally:
            upload.close()
        if stored is None:
            self.require_same_content(key, upload.size, upload.crc32c)
            return False
        if stored["crc32c"] != upload.crc32c:
            with prefix.slipway_errors(where, exists=True):
                prefix.blob(key, int(stored["generation"])).delete(timeout=TIMEOUT, retry=prefix.retry)
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{where} was stored with crc32c {stored['crc32c']} where {upload.crc32c} was sent.",
            )
        return True

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a small object in one request."""
        prefix = self._prefix
        with prefix.slipway_errors(self.locate(key)):
            blob = prefix.blob(check_key(key))
            blob.upload_from_string(
                data, content_type="application/octet-stream", checksum="crc32c", timeout=TIMEOUT, retry=prefix.retry
            )
            require_generation(blob)

    def _finish(self, key: str, upload: ResumableUpload) -> UploadedObject | None:
        """The object as it was published; None where another writer was first."""
        try:
            return upload.finish()
        except SessionGone:
            if self.size(key) is None:
                raise
            return None  # the answer that refused to publish over the other writer's object did not arrive
