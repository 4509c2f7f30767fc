"""botocore's S3 client, as the stores use it: how it is configured, and its errors with a reason.

Credentials (environment, profile, web identity of a Kubernetes service account, instance), region, endpoint
(``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_S3``) are botocore's own to find; its proxy and its certificate authorities are those
of ``steps.net``, with the file of ``AWS_CA_BUNDLE`` among these. With an endpoint of one's own the
bucket stands in the path. The library publishes no types, so what is used of it is written down here as protocols.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NotRequired, Protocol, TypedDict, cast
from urllib.parse import urlsplit

from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.store import object_not_found
from steps.net.least_rate import LeastRate, RateMeter, TooSlowError
from steps.net.libraries import describe_connection, is_lasting, library_failure
from steps.net.proxy import proxy_for
from steps.net.retry import is_transient, retry_after
from steps.net.tls import bundle_file
from steps.store.foreign_answer import foreign_answer
from steps.store.ranged import WINDOW
from steps.store.request_retry import TIMEOUT
from steps.store.s3_refusals import LOGIN, explained_refusal

PIECE = 1 << 20  # bytes that are read at once
AUTHORITIES = "AWS_CA_BUNDLE"  # botocore's own variable
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
_TRANSIENT = {"SlowDown", "RequestTimeout", "OperationAborted"}
_DAMAGED = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}
# What each request needs; without s3:ListBucket, the answer for a missing object is a 403.
_PERMISSIONS = {
    "HeadObject": "s3:GetObject and s3:ListBucket",
    "GetObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "HeadBucket": "s3:ListBucket",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
}


# The responses of https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html, as far as they are used.
class HeadObject(TypedDict):
    """The metadata of an object."""

    ContentLength: int
    ETag: str
    Metadata: dict[str, str]
    ChecksumType: NotRequired[str]
    ChecksumCRC32C: NotRequired[str]
    ChecksumCRC32: NotRequired[str]
    ChecksumCRC64NVME: NotRequired[str]


class ListedObject(TypedDict):
    """One object of a listing."""

    Key: str
    Size: int
    ETag: str


class ListObjects(TypedDict):
    """A page of a listing."""

    Contents: NotRequired[list[ListedObject]]
    IsTruncated: bool
    NextContinuationToken: NotRequired[str]


class CreateMultipartUpload(TypedDict):
    """An upload that has begun."""

    UploadId: str
    ChecksumType: NotRequired[str]


class UploadPart(TypedDict):
    """A part that the server has."""

    ETag: str


# Neither XML nor empty, or a page; white space comes before the answer of a long request, to keep the connection open.
_FOREIGN = re.compile(rb"(?i)(?:\xef\xbb\xbf)?\s*(?:[^<\s]|<(?:!doctype html|html))")
# The fields that each answer has, whoever's the server is: a proxy's or a login's page, which comes with 200, has none of them.
_FIELDS = {
    "CompleteMultipartUpload": "ETag",
    "CreateMultipartUpload": "UploadId",
    "GetObject": "ETag",
    "HeadObject": "ETag",
    "ListObjectsV2": "IsTruncated",
    "PutObject": "ETag",
    "UploadPart": "ETag",
}


class RawBody(Protocol):
    """``urllib3.HTTPResponse``."""

    def read1(self, amt: int) -> bytes:
        """Return at most so many bytes, as soon as some are there; none at the end."""


class Body(Protocol):
    """The body of a response: ``botocore.response.StreamingBody``."""

    # Its own methods return only when all of what they were asked for has come, which hides how slowly it comes.
    _raw_stream: RawBody

    def close(self) -> None:
        """Return the connection."""


class GetObject(TypedDict):
    """An object or a range of it."""

    Body: Body


class _Events(Protocol):
    def register(self, event_name: str, handler: Callable[..., None]) -> None:
        """Call ``handler`` at each event of the name."""

    def register_first(self, event_name: str, handler: Callable[..., None]) -> None:
        """Call ``handler`` before others."""


class _Operation(Protocol):
    name: str


class _RawAnswer(TypedDict):
    status_code: int
    body: bytes | Body  # the latter where it is a stream


class _Meta(Protocol):
    events: _Events
    region_name: str
    endpoint_url: str


class S3Client(Protocol):
    """The client that botocore generates for S3; parameters are named as in the API."""

    meta: _Meta

    def abort_multipart_upload(self, **parameters: object) -> object:
        """Delete the parts of an upload."""

    def complete_multipart_upload(self, **parameters: object) -> object:
        """Publish an upload."""

    def create_multipart_upload(self, **parameters: object) -> CreateMultipartUpload:
        """Begin an upload."""

    def delete_object(self, **parameters: object) -> object:
        """Delete an object."""

    def get_object(self, **parameters: object) -> GetObject:
        """Get an object or a range of it."""

    def head_bucket(self, **parameters: object) -> object:
        """Ask whether a bucket exists."""

    def head_object(self, **parameters: object) -> HeadObject:
        """Get an object's metadata."""

    def list_objects_v2(self, **parameters: object) -> ListObjects:
        """List a page of objects."""

    def put_object(self, **parameters: object) -> object:
        """Create or replace an object."""

    def upload_part(self, **parameters: object) -> UploadPart:
        """Send a part of an upload."""


class _Error(TypedDict):
    Code: str
    Message: NotRequired[str]


class _Metadata(TypedDict):
    HTTPStatusCode: int
    HTTPHeaders: Mapping[str, str]


class _ErrorResponse(TypedDict):
    Error: _Error
    ResponseMetadata: _Metadata


class ClientError(Protocol):
    """``botocore.exceptions.ClientError``: an answer of the server that refuses the request."""

    response: _ErrorResponse
    operation_name: str


def connect(uri: str) -> S3Client:
    """Return a new client; ``uri`` is the address that it is for, in errors.

    Raises:
        SlipwayError: ``MissingDependency`` without the library, ``StoreUnreadable`` where its configuration is wrong.
    """
    try:
        import awscrt.checksums  # noqa: F401
        import botocore.session
    except ImportError as error:
        raise missing_extra("s3", package=str(error.name), needed_by=uri) from None
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
        if os.environ.get(AUTHORITIES) or not session.get_config_variable("ca_bundle"):  # that of a profile stands alone
            session.set_config_variable("ca_bundle", bundle_file(AUTHORITIES))

        def create(proxies: dict[str, str]) -> S3Client:
            merged = config.merge(Config(proxies=proxies))
            client = cast(S3Client, session.create_client("s3", region_name=region, config=merged))
            # A name with a star goes before those with names alone, and so before botocore's own "before-parse.s3.*".
            client.meta.events.register_first("before-parse.*", _refuse_page)
            client.meta.events.register("after-call.s3", _require_fields)
            return client

        client = create({})
        proxy = proxy_for(client.meta.endpoint_url)
        return create({"http": proxy.url, "https": proxy.url}) if proxy else client
    except (BotoCoreError, ValueError) as error:  # a profile or an endpoint that does not exist
        raise SlipwayError(Reason.STORE_UNREADABLE, f"{uri} cannot be used: {error}", hint=LOGIN) from error


def _refuse_page(response_dict: _RawAnswer, **_: object) -> None:
    """Raise ``ValueError`` for a body of success that is not S3's: botocore makes a 500 of it, which is tried again."""
    body = response_dict["body"]
    if response_dict["status_code"] < 300 and isinstance(body, bytes) and _FOREIGN.match(body):
        raise ValueError("the body is not S3's")


def _require_fields(parsed: Mapping[str, object], model: _Operation, **_: object) -> None:
    """Raise ``KeyError`` for an answer of success that lacks what S3's has: botocore lets it pass."""
    if "Error" not in parsed and (field := _FIELDS.get(model.name)) is not None and field not in parsed:
        raise KeyError(field)


def read_body(body: Body, size: int, where: str, least: LeastRate) -> bytes:
    """Read a body to its end and return the connection.

    Args:
        body: Of a response.
        size: Bytes that it must have.
        where: Its address, for messages.
        least: The rate that it must come in with.

    Raises:
        TooSlowError: It does not.
        Exception: What botocore raises for a broken connection.
    """
    from botocore import exceptions as boto
    from urllib3 import exceptions as urllib3

    meter = RateMeter(least, where)
    data = bytearray()
    with contextlib.closing(body):
        while True:
            try:
                with meter.waiting():
                    piece = body._raw_stream.read1(PIECE)
            except urllib3.ReadTimeoutError as error:
                raise boto.ReadTimeoutError(endpoint_url=where, error=error) from error
            except (urllib3.HTTPError, OSError) as error:
                raise boto.ResponseStreamingError(error=error) from error
            if not piece:
                break
            data += piece
            meter.got(len(piece))
    if len(data) < size:
        raise boto.IncompleteReadError(actual_bytes=len(data), expected_bytes=size)
    return bytes(data)


def status_of(error: ClientError) -> int:
    """Return the HTTP status of a refusal."""
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def code_of(error: ClientError) -> str:
    """Return S3's name for a refusal."""
    return error.response["Error"]["Code"]


def transient(error: Exception) -> float | None:
    """As ``RequestRetry`` has it: of the answers and broken connections those that may pass."""
    from botocore import exceptions as boto

    if isinstance(error, TooSlowError):
        return 0.0
    if isinstance(error, boto.ClientError):
        refusal = cast(ClientError, error)
        # A single request may be tried again; a multipart upload is over, and looks at who has published.
        conflict = code_of(refusal) == "ConditionalRequestConflict" and refusal.operation_name == "PutObject"
        if is_transient(status_of(refusal)) or code_of(refusal) in _TRANSIENT or conflict:
            headers = refusal.response["ResponseMetadata"]["HTTPHeaders"]
            return retry_after(headers.get("retry-after"), datetime.now(UTC)) or 0.0
        return None
    if is_lasting(error):
        return None
    broken = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, ConnectionError)
    return 0.0 if isinstance(error, broken) else None


@contextlib.contextmanager
def slipway_errors(bucket: str, uri: str, where: str, *, exists: bool, endpoint: str = "") -> Iterator[None]:
    """Raise what botocore raises as a ``SlipwayError``.

    Args:
        bucket: The bucket's name.
        uri: The store's address.
        where: The address that the request is about.
        exists: Whether the object should exist: a 404 then means the object, and the bucket otherwise.
        endpoint: The address of the service.
    """
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    try:
        yield
    except boto.ClientError as error:
        raise _refusal(error, bucket, where, exists) from error
    except (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.TokenRetrievalError,
        boto.NoAuthTokenError,
    ) as error:
        raise SlipwayError(Reason.ACCESS_DENIED, f"There are no credentials for {uri}: {error}", hint=LOGIN) from error
    except boto.BotoCoreError as error:
        if (lasting := library_failure(error, where, endpoint)) is not None:
            raise lasting from error
        if transient(error) is not None:
            raise SlipwayError(Reason.STORE_BUSY, f"{describe_connection(error, where, endpoint)}.") from error
        raise SlipwayError(Reason.STORE_UNREADABLE, f"The request for {where} was refused: {error}") from error
    except OSError as error:
        raise SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {error}") from error
    except (ResponseParserError, KeyError, ValueError) as error:
        raise foreign_answer(where, endpoint, "S3", "AWS_ENDPOINT_URL") from error


def no_bucket(bucket: str) -> SlipwayError:
    """Return the error for a bucket that does not exist."""
    return SlipwayError(
        Reason.STORE_UNREADABLE,
        f"The bucket {bucket} does not exist.",
        hint=f"Check the name, or make it: aws s3 mb s3://{bucket}",
    )


def is_amazon(client: S3Client) -> bool:
    """Whether the client talks to Amazon's own service, which keeps what its documentation promises."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def credentials_source() -> str:
    """Return the name of the place where botocore finds credentials, and nothing of what is in them."""
    import botocore.session

    return str(botocore.session.get_session().get_credentials().method)


def _refusal(error: ClientError, bucket: str, where: str, exists: bool) -> SlipwayError:
    status, code = status_of(error), code_of(error)
    message = f"HTTP {status}: {error.response['Error'].get('Message', code)}"
    if code in _DAMAGED:
        return SlipwayError(Reason.DIGEST_MISMATCH, f"{where} was damaged during the upload: {message}")
    if status == 412 or (status == 404 and exists and code != "NoSuchBucket"):
        return object_not_found(where)  # this version of it, at least
    if status == 404:
        return no_bucket(bucket)
    headers = error.response["ResponseMetadata"]["HTTPHeaders"]
    fields = cast(Mapping[str, str], error.response["Error"])
    if explained := explained_refusal(code, status, fields, headers, bucket, where):
        return explained
    if status in (401, 403):
        needed = _PERMISSIONS.get(error.operation_name, "s3:PutObject")
        return SlipwayError(
            Reason.ACCESS_DENIED,
            f"Access to {where} is denied: {error.operation_name}: {message}",
            hint=f"Grant {needed} on the bucket {bucket} to the account that runs this.",
        )
    if transient(cast(Exception, error)) is not None:
        return SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {message}")
    return SlipwayError(Reason.STORE_UNREADABLE, f"The request for {where} was refused: {message}")
