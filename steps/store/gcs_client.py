"""google-cloud-storage, as the stores use it: one client, its errors with a reason, and who its credentials say one is.

The library finds its credentials and its endpoint (``STORAGE_EMULATOR_HOST``) by itself. It publishes no types, so what is
used of it is written down here as protocols.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol, cast

from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.store import object_not_found
from steps.net.libraries import describe_connection, equip_session, is_lasting, library_failure
from steps.net.retry import is_transient, retry_after
from steps.store.foreign_answer import foreign_answer

ENDPOINT = "STORAGE_EMULATOR_HOST"  # the library's own variable
LOGIN = "gcloud auth application-default login"


class Blob(Protocol):
    """``google.cloud.storage.Blob``, one version of an object."""

    name: str
    size: int
    generation: int | None
    crc32c: str

    def reload(self, *, timeout: float, retry: object) -> None:
        """Get the metadata."""

    def delete(self, *, timeout: float, retry: object) -> None:
        """Delete the object."""

    def download_as_bytes(
        self,
        *,
        start: int,
        end: int,
        single_shot_download: bool,
        checksum: None,
        timeout: float,
        retry: object,
        raw_download: bool = False,
    ) -> bytes:
        """Get the bytes from ``start`` to ``end``, both included."""

    def create_resumable_upload_session(
        self, *, content_type: str, if_generation_match: int, timeout: float, retry: object
    ) -> str:
        """Begin an upload and return the address of its session."""

    def upload_from_string(
        self,
        data: bytes,
        *,
        content_type: str,
        checksum: str,
        timeout: float,
        retry: object,
        if_generation_match: int | None = None,
    ) -> None:
        """Create or replace the object; with ``if_generation_match`` 0 only create it."""


class _Pages(Protocol):
    pages: Iterable[Iterable[Blob]]


class Bucket(Protocol):
    """``google.cloud.storage.Bucket``."""

    def blob(self, name: str, *, generation: int | None = None) -> Blob:
        """Return an object without asking for it."""

    def test_iam_permissions(self, permissions: Sequence[str], *, timeout: float, retry: object) -> list[str]:
        """Return those of the permissions that one has."""


class Client(Protocol):
    """``google.cloud.storage.Client``."""

    def bucket(self, name: str) -> Bucket:
        """Return a bucket without asking for it."""

    def list_blobs(self, bucket: str, *, prefix: str, fields: str, timeout: float, retry: object) -> _Pages:
        """List objects."""


def connect(uri: str) -> Client:
    """Return a new client; ``uri`` is the address that it is for, in errors.

    Raises:
        SlipwayError: ``MissingDependency`` without the library, ``AccessDenied`` without credentials.
    """
    try:
        import google_crc32c  # noqa: F401
        from google.cloud import storage
    except ImportError as error:
        raise missing_extra("gcp", package=str(error.name), needed_by=uri) from None
    from google.auth.exceptions import DefaultCredentialsError

    try:
        # Objects belong to buckets; a project is needed only to make those.
        client = storage.Client(project=None)
        session = client._http
        equip_session(session)
        if (for_tokens := getattr(session, "_auth_request_session", None)) is not None:
            equip_session(for_tokens)
        return cast(Client, client)
    except DefaultCredentialsError as error:
        raise SlipwayError(
            Reason.ACCESS_DENIED,
            f"There are no Google Cloud credentials for {uri}: {error}",
            hint=f"Run `{LOGIN}`, or run under a service account.",
        ) from error


def endpoint() -> str:
    """Return the address of the service, or of the server that stands in its place."""
    return os.environ.get(ENDPOINT) or "https://storage.googleapis.com"


def transient(error: Exception) -> float | None:
    """As ``RequestRetry`` has it: of the answers and broken connections those that may pass."""
    import urllib3
    from google.auth.exceptions import TransportError
    from requests import exceptions as requests

    response = getattr(error, "response", None)  # two of the library's packages raise errors of their own about it
    status = getattr(response, "status_code", None) or getattr(error, "code", None)
    if isinstance(status, int) and is_transient(status):
        return retry_after(getattr(response, "headers", {}).get("Retry-After"), datetime.now(UTC)) or 0.0
    if is_lasting(error):
        return None
    broken = (requests.ConnectionError, requests.ChunkedEncodingError, requests.Timeout, ConnectionError)
    return 0.0 if isinstance(error, (*broken, urllib3.exceptions.HTTPError, TransportError)) else None


@contextlib.contextmanager
def slipway_errors(bucket: str, where: str, *, exists: bool) -> Iterator[None]:
    """Raise what the library raises as a ``SlipwayError``.

    Args:
        bucket: The bucket's name.
        where: The address that the request is about.
        exists: Whether the object should exist: a 404 then means the object, and the bucket otherwise.
    """
    import urllib3
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth
    from google.cloud.storage.exceptions import DataCorruption
    from requests.exceptions import InvalidJSONError

    try:
        try:
            yield
        except Exception as error:
            if (lasting := library_failure(error, where)) is not None:
                raise lasting from error
            raise
    except DataCorruption as error:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{where} was damaged during the transfer.") from error
    except api.NotFound as error:
        if exists and not is_about_bucket(error):
            raise object_not_found(where) from error
        raise SlipwayError(
            Reason.STORE_UNREADABLE,
            f"The bucket {bucket} does not exist.",
            hint=f"Check the name, or make it: gcloud storage buckets create gs://{bucket}",
        ) from error
    except (api.Unauthorized, api.Forbidden, auth.RefreshError, auth.InvalidOperation) as error:
        grant = f"Grant roles/storage.objectUser on the bucket {bucket} to the account that runs this."
        hint = _hint(error, bucket) or grant
        raise SlipwayError(Reason.ACCESS_DENIED, f"Access to {where} is denied: {_message(error)}", hint=hint) from error
    except (api.GoogleAPIError, auth.GoogleAuthError) as error:
        code = getattr(error, "code", None)
        if isinstance(error, auth.TransportError | api.ServerError) or (isinstance(code, int) and is_transient(code)):
            raise SlipwayError(Reason.STORE_BUSY, f"{where} is out of reach: {_message(error)}") from error
        text, hint = f"The request for {where} was refused: {_message(error)}", _hint(error, bucket)
        raise SlipwayError(Reason.STORE_UNREADABLE, text, hint=hint or None) from error
    except InvalidJSONError as error:
        raise foreign_answer(where, endpoint(), "Cloud Storage", ENDPOINT) from error
    except (OSError, urllib3.exceptions.HTTPError) as error:  # those of requests are OSErrors
        raise SlipwayError(Reason.STORE_BUSY, f"{describe_connection(error, where)}.") from error
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        # The library takes an answer for what it should be: its fields, and that it is an object at all.
        raise foreign_answer(where, endpoint(), "Cloud Storage", ENDPOINT) from error


def is_about_bucket(error: Exception) -> bool:
    """Whether a ``NotFound`` means the bucket: both are 404 with reason notFound, and only the sentence tells them apart."""
    return "bucket does not exist" in str(error)


def identity() -> tuple[str, str]:
    """Return who the credentials of this machine are to Google: for a person, and as IAM's bindings name a member.

    Raises:
        SlipwayError: ``MissingDependency`` without the library, ``AccessDenied`` without credentials.
    """
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
    except ImportError as error:
        raise missing_extra("gcp", package=str(error.name), needed_by="Google Cloud") from None
    try:
        credentials, project = google.auth.default()
    except DefaultCredentialsError as error:
        raise SlipwayError(Reason.ACCESS_DENIED, f"there are none: {str(error).partition('. ')[0]}", hint=LOGIN) from None
    of_project = f"project {project}" if project else "of no project"
    if email := getattr(credentials, "service_account_email", ""):
        return f"service account {email}, {of_project}", f"serviceAccount:{email}"
    return f"{type(credentials).__module__.rpartition('.')[2]}, {of_project}", "user:YOUR-ADDRESS"


def _hint(error: Exception, bucket: str) -> str:
    """What helps against a refusal that its status does not explain; empty for others.

    https://cloud.google.com/storage/docs/json_api/v1/status-codes
    """
    text = str(error).lower()
    if "requester pays" in text or "user project" in text:
        return "Slipway does not pay for requests to the bucket of somebody else: copy what you need to a bucket of your own."
    if "kms" in text:
        return (
            f"The key that encrypts the bucket {bucket} must be enabled, and Cloud Storage's service agent needs "
            "roles/cloudkms.cryptoKeyEncrypterDecrypter on it."
        )
    if "retention" in text or "object hold" in text or "event-based hold" in text:
        return "Slipway replaces its records (receipts/, runs/): use a bucket without a retention policy, and without holds."
    if "billing" in text:
        return f"Enable billing in the project that the bucket {bucket} belongs to."
    return ""


def _message(error: Exception) -> str:
    """The server's message, without addresses: those of uploads are secrets, and all are long."""
    cause = getattr(error, "cause", None) or error
    status = getattr(cause, "code", None) or getattr(getattr(cause, "response", None), "status_code", None)
    text = str(getattr(cause, "message", "")).partition(": ")[2][:300] or type(cause).__name__
    return f"HTTP {int(status)}: {text}" if status else text
