"""The store in an S3 bucket, Amazon's or another's: one object under each key.

What is read is pinned by its ETag and checked by the checksum that the server keeps for the whole object, where it keeps
one; ``s3_upload`` does so for what is written. ``s3_client`` has botocore's client and errors, ``ranged`` the reading by
ranges.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import cast

from steps.core.errors import Reason, SlipwayError
from steps.core.store import check_key
from steps.net.least_rate import LeastRate
from steps.store import s3_client
from steps.store.bucket import CHECKED_NAME, CONDITIONS_HINT, BucketObject, BucketPrefix, BucketStore, without_folders
from steps.store.ranged import read_ranges
from steps.store.s3_checksum import UNKNOWN, algorithm, checksum_text, full_object_checksum
from steps.store.s3_client import S3Client
from steps.store.s3_upload import MultipartUpload


class S3Prefix(BucketPrefix):
    """The objects under ``s3://bucket/prefix``."""

    scheme = "s3"
    # https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    bucket_names = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
    transient = staticmethod(s3_client.transient)

    def target(self, name: str) -> dict[str, str]:
        """Return the parameters that name an object in each request."""
        return {"Bucket": self.bucket, "Key": self.prefix + name}

    def objects(self, beginning: str = "") -> list[BucketObject]:
        """List the objects whose names below the prefix begin so, sorted by name, without their checksums."""
        found: list[BucketObject] = []
        continuation: dict[str, str] | None = {}
        with self.slipway_errors(self.locate(beginning)):
            list_page = self.retry(self.client.list_objects_v2)
            while continuation is not None:
                page = list_page(Bucket=self.bucket, Prefix=self.prefix + beginning, **continuation)
                for each in page.get("Contents", ()):
                    name = each["Key"].removeprefix(self.prefix)
                    found.append(BucketObject(name, each["Size"], each["ETag"], "", UNKNOWN))
                continuation = {"ContinuationToken": page["NextContinuationToken"]} if page["IsTruncated"] else None
        return sorted(without_folders(found), key=lambda each: each.name)

    def find(self, name: str) -> BucketObject | None:
        """Return the object as it is now, or None where there is none."""
        with self.slipway_errors(self.locate(name)):
            from botocore.exceptions import ClientError

            try:
                head = self.retry(self.client.head_object)(**self.target(name), ChecksumMode="ENABLED")
            except ClientError as error:
                if s3_client.status_of(error) != 404:
                    raise self._with_cause(name, error) from None
                self._require_bucket()  # a 404 without a body may mean the object or the bucket
                return None
            return BucketObject(name, head["ContentLength"], head["ETag"], *full_object_checksum(head))

    def read(self, found: BucketObject) -> Iterator[bytes]:
        """Yield the bytes of exactly this version, in parts of at most ``ranged.PART``.

        Raises ``DigestMismatch`` before the end where the server keeps a checksum of the whole object and the bytes are not
        those of it, ``StoreUnreadable`` where the version is gone.
        """
        where = self.locate(found.name)
        pinned = {**self.target(found.name), "IfMatch": found.version}
        checksum, name = found.checksum, found.algorithm
        with self.slipway_errors(where, exists=True):
            if name == UNKNOWN:
                head = self.retry(self.client.head_object)(**pinned, ChecksumMode="ENABLED")
                checksum, name = full_object_checksum(head)
            add, length = algorithm(name)

        def download(start: int, end: int) -> bytes:
            answer = self.client.get_object(**pinned, Range=f"bytes={start}-{end - 1}")
            return s3_client.read_body(answer["Body"], end - start, where, LeastRate.configured())

        crc = 0
        with contextlib.closing(read_ranges(download, found.size, self.retry)) as parts:
            while True:
                with self.slipway_errors(where, exists=True):
                    part = next(parts, None)
                if part is None:
                    break
                crc = add(part, crc)
                yield part
        if length and checksum_text(crc, length) != checksum:
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{where} came with {name} {checksum_text(crc, length)} where the bucket has {checksum}.",
            )

    def check(self) -> str:
        """Begin an upload and abort it: whoever may do that may write."""
        target = self.target(CHECKED_NAME)
        with self.slipway_errors(self.locate(CHECKED_NAME)):
            self.client.head_bucket(Bucket=self.bucket)
            upload = self.client.create_multipart_upload(**target, ChecksumAlgorithm="CRC32C")
            self.client.abort_multipart_upload(**target, UploadId=upload["UploadId"])
            source = s3_client.credentials_source()
        return f"objects may be written (an upload was begun and aborted), with credentials from {source}"

    @cached_property
    def client(self) -> S3Client:
        """The library's client, made when it is needed first."""
        return s3_client.connect(self.uri)

    @contextlib.contextmanager
    def slipway_errors(self, where: str, *, exists: bool = False) -> Iterator[None]:
        """Raise what botocore raises about ``where`` as a ``SlipwayError``; see ``s3_client.slipway_errors``."""
        endpoint = self.client.meta.endpoint_url  # first of all, since its error is the one for a missing library
        with s3_client.slipway_errors(self.bucket, self.uri, where, exists=exists, endpoint=endpoint):
            yield

    def create(self, name: str, data: bytes) -> bool:
        """Create a small object if there is none, by a conditional request; whether the server did it."""
        with self.slipway_errors(self.locate(name)):
            from awscrt import checksums
            from botocore.exceptions import ClientError

            try:
                self.retry(self.client.put_object)(
                    **self.target(name),
                    Body=data,
                    IfNoneMatch="*",
                    ChecksumAlgorithm="CRC32C",
                    ChecksumCRC32C=checksum_text(checksums.crc32c(data)),
                )
            except ClientError as error:
                if s3_client.status_of(error) == 501:  # "a header that implies functionality that is not implemented"
                    text = f"The server of {self.uri} does not know conditional writes: {error}."
                    raise SlipwayError(Reason.UNSUPPORTED_STORE, text, hint=CONDITIONS_HINT) from error
                if s3_client.status_of(error) != 412:
                    raise
                return False
            return True

    def delete(self, name: str) -> None:
        """Delete an object."""
        with self.slipway_errors(self.locate(name)):
            self.retry(self.client.delete_object)(**self.target(name))

    @property
    def is_providers_own(self) -> bool:
        """Whether the bucket is Amazon's."""
        return s3_client.is_amazon(self.client)

    def _with_cause(self, name: str, refusal: Exception) -> Exception:
        """A refusal of HEAD, which has no body, or that of a GET whose body says more: a clock, expired credentials, a key."""
        from botocore.exceptions import ClientError

        try:
            self.client.get_object(**self.target(name), Range="bytes=0-0")["Body"].close()
        except ClientError as error:
            if s3_client.code_of(error) not in ("AccessDenied", "NoSuchKey", "InvalidRange"):
                return cast(Exception, error)
        except Exception:  # the first refusal is the one to report
            return refusal
        return refusal

    def _require_bucket(self) -> None:
        """Raise ``StoreUnreadable`` where the bucket does not exist; without the right to ask, it is taken to exist."""
        if not self._bucket_exists:
            raise s3_client.no_bucket(self.bucket)

    @cached_property
    def _bucket_exists(self) -> bool:
        from botocore.exceptions import ClientError

        try:
            self.retry(self.client.head_bucket)(Bucket=self.bucket)
        except ClientError as error:
            return s3_client.status_of(error) != 404
        return True


class S3Store(BucketStore[S3Prefix]):
    """Objects under keys in ``s3://bucket/prefix``."""

    scheme = S3Prefix.scheme
    example = "s3://BUCKET/PREFIX"
    title = "Amazon S3 or a compatible service"
    environment = ("AWS_*",)

    @classmethod
    def open_prefix(cls, uri: str) -> S3Prefix:
        """Open what lies under ``s3://bucket/prefix``."""
        return S3Prefix.from_uri(uri)

    def put(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Create the object from a stream, if absent, by one multipart upload, or one request where a part holds it all."""
        if self.size(key) is not None:
            return False
        self.require_conditions()
        prefix, where = self._prefix, self.locate(key)
        upload = MultipartUpload(prefix.client, prefix.retry, prefix.target(key), where)
        try:
            for chunk in chunks:
                with prefix.slipway_errors(where):
                    upload.write(chunk)
            with prefix.slipway_errors(where):
                published = upload.finish()
        except BaseException:
            upload.cancel()
            raise
        finally:
            upload.close()
        if not published:
            self.require_same_content(key, upload.size, upload.crc32c)
        return published

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a small object in one request."""
        prefix = self._prefix
        with prefix.slipway_errors(self.locate(key)):
            from awscrt import checksums

            prefix.retry(prefix.client.put_object)(
                **prefix.target(check_key(key)),
                Body=data,
                ContentType="application/octet-stream",
                ChecksumAlgorithm="CRC32C",
                ChecksumCRC32C=checksum_text(checksums.crc32c(data)),
            )

    def _crc32c(self, found: BucketObject) -> str:
        if found.algorithm == "crc32c":
            return found.checksum
        from awscrt import checksums

        crc = 0  # another program's object, or a server that keeps no checksums of whole objects: read it
        for part in self._prefix.read(found):
            crc = checksums.crc32c(part, crc)
        return checksum_text(crc)
