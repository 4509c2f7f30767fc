"""The store in an S3 bucket, Amazon's or another's: one object under each key.

Credentials (environment, profile, web identity of a Kubernetes service account, instance), region, endpoint
(``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_S3``) and CA file are botocore's own to find. With an endpoint of one's own the
bucket stands in the path. What is read is pinned by its ETag and checked by the checksum that the server keeps for the
whole object, where it keeps one; ``multipart`` does so for what is written.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.store import check_key, object_not_found
from steps.net.retry import PATIENCE, TIMEOUT, TRANSIENT, Patience, seconds_asked
from steps.store.bucket import BucketObject, BucketStore, Prefix, check_prefix, parse
from steps.store.ranged import WINDOW, read_ranges
from steps.store.s3_upload import Upload, crc_text

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
BUCKET = "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"

# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
_PASSING = {"SlowDown", "RequestTimeout", "OperationAborted"}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
_NOBODY = {"ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"}
_LOG_IN = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, or run under a role that may use the bucket."
# What each request needs; without s3:ListBucket, an object that is missing is denied instead.
_PERMISSIONS = {
    "HeadObject": "s3:GetObject and s3:ListBucket",
    "GetObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
}
_UNKNOWN = ""  # the algorithm of an object whose checksum has not been asked for: listings do not tell it


class S3Prefix(Prefix):
    """``Prefix`` for ``s3://bucket/prefix``."""

    scheme, names = "s3", BUCKET

    def __init__(self, bucket: str, prefix: str = "", *, patience: float = PATIENCE) -> None:
        super().__init__(bucket, prefix)
        self.patience = Patience(patience, _asked)

    def target(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.prefix + name}

    def objects(self, beginning: str = "") -> list[BucketObject]:
        """As ``Prefix`` says. A listing tells no checksum: ``read`` asks for it."""
        found: list[BucketObject] = []
        rest: dict[str, str] | None = {}
        with self.errors(self.locate(beginning)):
            listed = self.patience(self.client.list_objects_v2)
            while rest is not None:
                page = listed(Bucket=self.bucket, Prefix=self.prefix + beginning, **rest)
                for each in page.get("Contents", ()):
                    name = each["Key"].removeprefix(self.prefix)
                    found.append(BucketObject(name, each["Size"], each["ETag"], "", _UNKNOWN))
                rest = {"ContinuationToken": page["NextContinuationToken"]} if page["IsTruncated"] else None
        kept = (each for each in found if each.size or not (each.name.endswith("/") or not each.name))
        return sorted(kept, key=lambda each: each.name)

    def find(self, name: str) -> BucketObject | None:
        with self.errors(self.locate(name)):
            from botocore.exceptions import ClientError

            try:
                head = self.patience(self.client.head_object)(**self.target(name), ChecksumMode="ENABLED")
            except ClientError as error:
                if _status(error) != 404:
                    raise
                self._bucket_exists  # noqa: B018 - a 404 without a body does not tell the two apart
                return None
            return BucketObject(name, head["ContentLength"], head["ETag"], *_checksum(head))

    def read(self, found: BucketObject) -> Iterator[bytes]:
        where = self.locate(found.name)
        pinned = {**self.target(found.name), "IfMatch": found.version}
        checksum, algorithm = found.checksum, found.algorithm
        if algorithm == _UNKNOWN:
            with self.errors(where, exists=True):
                checksum, algorithm = _checksum(self.patience(self.client.head_object)(**pinned, ChecksumMode="ENABLED"))

        def fetch(start: int, end: int) -> bytes:
            body = self.client.get_object(**pinned, Range=f"bytes={start}-{end - 1}")["Body"]
            with contextlib.closing(body):
                return bytes(body.read())

        with self.errors(where, exists=True):
            add, length = _algorithm(algorithm)
        crc = 0
        with contextlib.closing(read_ranges(fetch, found.size, self.patience)) as parts:
            while True:
                with self.errors(where, exists=True):
                    part = next(parts, None)
                if part is None:
                    break
                crc = add(part, crc)
                yield part
        if length and crc_text(crc, length) != checksum:
            raise SlipwayError(
                Reason.DIGEST_MISMATCH,
                f"{where} came with {algorithm} {crc_text(crc, length)} where the bucket has {checksum}.",
            )

    @cached_property
    def client(self) -> Any:
        try:
            import awscrt.checksums  # noqa: F401
            import botocore.session
        except ImportError as error:
            raise missing_extra("s3", package=str(error.name), needed_by=self.uri) from None
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        config = Config(
            connect_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=2 * WINDOW,
            response_checksum_validation="when_required",  # the whole object is checked here, not what a part came with
        )
        try:
            session = botocore.session.get_session()
            # The one variable of the other SDKs, which Kubernetes' web identities set too, that botocore does not read.
            region = session.get_config_variable("region") or os.environ.get("AWS_REGION")
            return session.create_client("s3", region_name=region, config=config)
        except (BotoCoreError, ValueError) as error:  # a profile or an endpoint that is none
            raise SlipwayError(Reason.STORE_UNREADABLE, f"{self.uri} cannot be used: {error}", hint=_LOG_IN) from error

    @cached_property
    def _bucket_exists(self) -> bool:
        """True, or an error that says that it does not; who may not ask is believed."""
        from botocore.exceptions import ClientError

        try:
            self.patience(self.client.head_bucket)(Bucket=self.bucket)
        except ClientError as error:
            if _status(error) == 404:
                raise SlipwayError(
                    Reason.STORE_UNREADABLE,
                    f"The bucket {self.bucket} does not exist.",
                    hint=f"Check the name, or make it: aws s3 mb s3://{self.bucket}",
                ) from error
        return True

    @contextlib.contextmanager
    def errors(self, where: str, *, exists: bool = False) -> Iterator[None]:
        """Give what botocore raises its reason; what is not found is the bucket unless the object should exist."""
        _ = self.client  # where the package is missing, this says so
        from botocore import exceptions as boto

        try:
            yield
        except boto.ClientError as error:
            raise self._reason(error, where, exists) from error
        except (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.TokenRetrievalError,
            boto.NoAuthTokenError,
        ) as error:
            raise SlipwayError(
                Reason.ACCESS_DENIED, f"There are no credentials for {self.uri}: {error}", hint=_LOG_IN
            ) from error
        except boto.BotoCoreError as error:
            if _asked(error) is not None:
                raise SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {type(error).__name__}") from error
            raise SlipwayError(Reason.STORE_UNREADABLE, f"{where} was refused: {error}") from error
        except OSError as error:
            raise SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {error}") from error

    def _reason(self, error: Any, where: str, exists: bool) -> SlipwayError:
        status, code = _status(error), error.response["Error"]["Code"]
        said = f"HTTP {status}: {error.response['Error'].get('Message', code)}"
        if code in _DAMAGED:
            return SlipwayError(Reason.DIGEST_MISMATCH, f"{where} was damaged on its way to the bucket: {said}")
        if status == 412 or (status == 404 and exists and code != "NoSuchBucket"):
            return object_not_found(where)  # this version of it, at least
        if status == 404:
            return SlipwayError(
                Reason.STORE_UNREADABLE,
                f"The bucket {self.bucket} does not exist.",
                hint=f"Check the name, or make it: aws s3 mb s3://{self.bucket}",
            )
        if code in _NOBODY:
            return SlipwayError(Reason.ACCESS_DENIED, f"{where} is denied: {said}", hint=_LOG_IN)
        if status in (401, 403) and code != "InvalidObjectState":  # that one lies in an archive of the provider's
            needed = _PERMISSIONS.get(error.operation_name, "s3:PutObject")
            return SlipwayError(
                Reason.ACCESS_DENIED,
                f"{where} is denied: {error.operation_name}: {said}",
                hint=f"Grant {needed} on the bucket {self.bucket} to the account that runs this.",
            )
        if _asked(error) is not None:
            return SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {said}")
        return SlipwayError(Reason.STORE_UNREADABLE, f"{where} was refused: {said}")


class S3Store(BucketStore):
    """Objects under keys in a bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str = "", *, patience: float = PATIENCE) -> None:
        self._below = S3Prefix(bucket, prefix, patience=patience)
        super().__init__(self._below)

    @classmethod
    def from_uri(cls, uri: str) -> S3Store:
        bucket, prefix = parse(uri, "s3", BUCKET)
        return cls(bucket, check_prefix(uri, prefix))

    def put(self, key: str, chunks: Iterable[bytes]) -> bool:
        if self.size(key) is not None:
            return False
        below, where = self._below, self.locate(key)
        upload = Upload(below.client, below.patience, below.target(key), where)
        try:
            for chunk in chunks:
                with below.errors(where):
                    upload.write(chunk)
            with below.errors(where):
                published = upload.finish()
        except BaseException:
            upload.cancel()
            raise
        finally:
            upload.close()
        if not published:
            self.same(key, upload.size, upload.crc32c)
        return published

    def write(self, key: str, data: bytes) -> None:
        with self._below.errors(self.locate(key)):
            from awscrt import checksums

            self._below.patience(self._below.client.put_object)(
                **self._below.target(check_key(key)),
                Body=data,
                ContentType="application/octet-stream",
                ChecksumAlgorithm="CRC32C",
                ChecksumCRC32C=crc_text(checksums.crc32c(data), 4),
            )

    def _crc32c(self, found: BucketObject) -> str:
        if found.algorithm == "crc32c":
            return found.checksum
        from awscrt import checksums

        crc = 0  # somebody else's object, or a server that keeps no checksums: its bytes tell
        for part in self._below.read(found):
            crc = checksums.crc32c(part, crc)
        return crc_text(crc, 4)


def _asked(error: Exception) -> float | None:
    """As ``Patience`` asks: of the answers and broken connections those that pass."""
    from botocore import exceptions as boto

    if isinstance(error, boto.ClientError):
        code = error.response["Error"]["Code"]
        # For a single request this passes; a multipart upload is over, and asks who has published.
        conflict = code == "ConditionalRequestConflict" and error.operation_name == "PutObject"
        if _status(error) in TRANSIENT or code in _PASSING or conflict:
            return seconds_asked(error.response["ResponseMetadata"]["HTTPHeaders"].get("retry-after"))
        return None
    broken = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, ConnectionError)
    return 0.0 if isinstance(error, broken) and not isinstance(error, boto.SSLError) else None


def _status(error: Any) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _checksum(head: dict[str, Any]) -> tuple[str, str]:
    """The checksum of the whole object that came with its metadata, and its algorithm; "none" where none is known here."""
    if head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
        for algorithm in ("crc32c", "crc32", "crc64nvme"):
            value = head.get(f"Checksum{algorithm.upper()}", "-")
            if "-" not in value:  # a dash and a number: over the parts' checksums
                return value, algorithm
    return "", "none"


def _algorithm(name: str) -> tuple[Callable[[bytes, int], int], int]:
    """How bytes are added to a checksum, and its length in bytes: 0 where there is none."""
    from awscrt import checksums

    known = {"crc32c": (checksums.crc32c, 4), "crc32": (checksums.crc32, 4), "crc64nvme": (checksums.crc64nvme, 8)}
    return known.get(name, (lambda part, crc: crc, 0))
