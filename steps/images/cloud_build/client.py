"""Cloud Build's API through google-cloud-build: create, list, get and cancel, each error with its ``Reason``.

The endpoint is a setting; credentials are what the library finds by itself (``GOOGLE_APPLICATION_CREDENTIALS``); the proxy
and the certificate authorities are those of ``steps.net``, with the file of ``GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`` among these.
Without a setting the library's own endpoint is used, which serves all regions; Google also has regional ones
(``cloudbuild.REGION.rep.googleapis.com``), not for every region, for those who must keep requests inside of one:
https://cloud.google.com/build/docs/locations.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.settings import Settings
from steps.images.cloud_build.request import CloudBuildRequest, archive_tag, location
from steps.net.libraries import equip_session, grpc_credentials, grpc_failure, grpc_options
from steps.net.retry import SERVER_RETRIES

if TYPE_CHECKING:
    import grpc
    from google.cloud.devtools import cloudbuild_v1

TIMEOUT = 30.0  # seconds for one call
PAGE = 100  # builds in one page of a list
MAX_MESSAGE = 500  # characters of an error of the service that are shown
T = TypeVar("T")


class Status(StrEnum):
    """A build's state, by Cloud Build's names."""

    STATUS_UNKNOWN = "STATUS_UNKNOWN"
    PENDING = "PENDING"
    QUEUED = "QUEUED"
    WORKING = "WORKING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def active(self) -> bool:
        """Whether a build in this state has not ended."""
        return self in (Status.STATUS_UNKNOWN, Status.PENDING, Status.QUEUED, Status.WORKING)


@dataclass(frozen=True)
class Build:
    """A build as Cloud Build describes it.

    Attributes:
        id: Cloud Build's id.
        status: its state.
        created: when it was requested.
        tags: its tags, see ``CloudBuildRequest.tags``.
        generation: generation of the archive's object that it builds from.
        images: digests, ``sha256:…``, of the images that were pushed, by name.
        verified: whether it succeeds only with stored provenance.
        sha256: digests, in hex, of the sources that it fetched; empty where Cloud Build reports none.
        detail: why it ended as it did, in Cloud Build's own text.
        transient: its failure is one of Google's own, so that another build may succeed.
        logs: bucket and folder of its log, with or without ``gs://``; empty where the log is in no bucket.
        page: address of its page in the console.
    """

    id: str
    status: Status
    created: datetime
    tags: tuple[str, ...]
    generation: int
    images: Mapping[str, str]
    verified: bool
    sha256: tuple[str, ...]
    detail: str
    transient: bool
    logs: str
    page: str


class LostResponse(Exception):
    """The response to a request for a build was lost: the build may exist or not."""


class CloudBuildClient:
    """The builds of one project and region; a context manager, which closes the connection."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._location = location(settings)
        self._client, self._project, self._target = _connect(settings)

    def __enter__(self) -> CloudBuildClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.transport.close()

    @property
    def parent(self) -> str:
        """The project and region by their name in the API."""
        return f"projects/{self._project}/locations/{self._location}"

    def create(self, request: CloudBuildRequest) -> Build:
        """Request a build, once.

        Raises:
            LostResponse: The build may exist or not.
            SlipwayError: ``AccessDenied``, ``InvalidInput`` or ``BuilderBusy`` where the service refuses it.
        """
        from google.api_core import exceptions as api

        build = request.build(self._settings, self._project)
        message = {"parent": self.parent, "project_id": self._project, "build": build}
        with _errors(f"Cloud Build in {self.parent}", self._target):
            try:
                # Cloud Build has no idempotency key, so a second call would be a second build: no retry here.
                operation = self._client.create_build(message, retry=None, timeout=TIMEOUT)
            except (api.ServerError, api.Aborted, api.Cancelled, api.RetryError) as error:
                if grpc_failure(str(error), "", self._target) is not None:  # it has not been sent
                    raise
                raise LostResponse(_message(error)) from error
        return _read(operation.metadata.build)

    def of_archive(self, archive_digest: str) -> list[Build]:
        """The builds that carry the archive's tag. The list is eventually consistent: new builds may be absent for a while."""
        request = {
            "parent": self.parent,
            "project_id": self._project,
            "filter": f'tags="{archive_tag(archive_digest)}"',
            "page_size": PAGE,
        }
        return self._call(lambda: [_read(each) for each in self._client.list_builds(request, retry=None, timeout=TIMEOUT)])

    def get(self, build: str) -> Build | None:
        """A build by its id; None where there is none."""
        from google.api_core.exceptions import NotFound

        request = {"name": f"{self.parent}/builds/{build}", "project_id": self._project, "id": build}

        def get() -> Build | None:
            try:
                return _read(self._client.get_build(request, retry=None, timeout=TIMEOUT))
            except NotFound:
                return None

        return self._call(get)

    def cancel(self, build: str) -> None:
        """Cancel a build; one that has ended or does not exist is left as it is."""
        from google.api_core.exceptions import FailedPrecondition, NotFound

        request = {"name": f"{self.parent}/builds/{build}", "project_id": self._project, "id": build}

        def cancel() -> None:
            with contextlib.suppress(FailedPrecondition, NotFound):
                self._client.cancel_build(request, retry=None, timeout=TIMEOUT)

        self._call(cancel)

    def _call(self, work: Callable[[], T]) -> T:
        """Make a call that may be repeated, and repeat it while the service is out of reach."""
        from google.api_core import exceptions as api

        def transient(error: Exception) -> float | None:
            if grpc_failure(str(error), "", self._target) is not None or isinstance(error, api.MethodNotImplemented):
                return None
            return 0.0 if isinstance(error, (api.ServerError, api.Aborted, api.TooManyRequests)) else None

        with _errors(f"Cloud Build in {self.parent}", self._target):
            return SERVER_RETRIES.call(work, transient=transient, clock=self._clock)


def _connect(settings: Settings) -> tuple[cloudbuild_v1.CloudBuildClient, str, str]:
    """Google's client, the project's id, and HOST:PORT of the service."""
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud.devtools import cloudbuild_v1
        from google.cloud.devtools.cloudbuild_v1.services.cloud_build.transports import CloudBuildGrpcTransport
    except ImportError as error:
        raise missing_extra("gcp", package=str(error.name), needed_by="The builder cloudbuild") from None
    try:
        credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    except DefaultCredentialsError as error:
        raise SlipwayError(
            Reason.ACCESS_DENIED,
            f"There are no Google Cloud credentials for Cloud Build: {error}",
            hint="Run `gcloud auth application-default login`, or run under a service account.",
        ) from error
    project = settings.project or project
    if not project:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            "The credentials belong to no project, and the settings name none.",
            hint="Set `project` to the Google Cloud project that builds.",
        )
    target = settings.build_endpoint or cloudbuild_v1.CloudBuildClient.DEFAULT_ENDPOINT
    target = target if re.search(r":[0-9]+$", target) else f"{target}:443"
    transport = CloudBuildGrpcTransport(host=target, credentials=credentials, channel=_open_channel, always_use_jwt_access=True)
    return cloudbuild_v1.CloudBuildClient(transport=transport), project, target


def _open_channel(target: str, *, credentials: object, options: Sequence[tuple[str, str | int]], **_: object) -> grpc.Channel:
    """A channel by the proxy and with the authorities that ``steps.net`` names, for tokens of the credentials, too."""
    import grpc
    import requests
    from google.auth.transport.grpc import AuthMetadataPlugin
    from google.auth.transport.requests import Request
    from google.cloud.devtools.cloudbuild_v1 import CloudBuildClient as GoogleClient

    for_tokens = requests.Session()
    equip_session(for_tokens)
    plugin = AuthMetadataPlugin(credentials, Request(for_tokens), default_host=GoogleClient.DEFAULT_ENDPOINT)
    secured = grpc.composite_channel_credentials(grpc_credentials(), grpc.metadata_call_credentials(plugin))
    return grpc.secure_channel(target, secured, options=[*options, *grpc_options(target)])


def _read(build: cloudbuild_v1.Build) -> Build:
    from google.cloud.devtools.cloudbuild_v1 import types

    provenance = build.source_provenance
    hashes = [each for found in provenance.file_hashes.values() for each in found.file_hash]
    failure = types.Build.FailureInfo.FailureType
    return Build(
        id=build.id,
        status=Status(build.status.name),
        created=build.create_time,
        tags=tuple(build.tags),
        generation=provenance.resolved_storage_source.generation or build.source.storage_source.generation,
        images={image.name: image.digest for image in build.results.images},
        verified=build.options.requested_verify_option == types.BuildOptions.VerifyOption.VERIFIED,
        sha256=tuple(each.value.hex() for each in hashes if each.type_ == types.Hash.HashType.SHA256),
        detail=build.status_detail or build.failure_info.detail,
        transient=build.failure_info.type_ == failure.LOGGING_FAILURE,
        logs=build.logs_bucket,
        page=build.log_url,
    )


@contextlib.contextmanager
def _errors(where: str, target: str) -> Iterator[None]:
    """Raise what the library raises as a ``SlipwayError``; ``target`` is HOST:PORT of the service."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    try:
        yield
    except (api.Forbidden, api.NotFound) as error:
        if isinstance(error, api.NotFound) or getattr(error, "reason", None) == "SERVICE_DISABLED":
            raise SlipwayError(
                Reason.ACCESS_DENIED,
                f"{where} was not found: {_message(error)}",
                hint="Check `project` and `region`, and switch the API on: gcloud services enable cloudbuild.googleapis.com",
            ) from error
        raise SlipwayError(
            Reason.ACCESS_DENIED,
            f"{where} is denied: {_message(error)}",
            hint="Grant the account that runs this roles/cloudbuild.builds.editor on the project, and, where builds have an "
            "account of their own, roles/iam.serviceAccountUser on that.",
        ) from error
    except (api.Unauthorized, auth.RefreshError, auth.InvalidOperation) as error:
        raise SlipwayError(
            Reason.ACCESS_DENIED,
            f"{where} does not take the credentials: {_message(error)}",
            hint="Run `gcloud auth application-default login`, or check the service account's key.",
        ) from error
    except api.MethodNotImplemented as error:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{where} does not answer as Cloud Build: {_message(error)}",
            hint="Set `build_endpoint` to HOST:PORT of Cloud Build.",
        ) from error
    except api.TooManyRequests as error:
        raise SlipwayError(Reason.BUILDER_BUSY, f"{where} is out of quota: {_message(error)}") from error
    except (api.ServerError, api.Aborted, api.Cancelled, api.RetryError, auth.TransportError) as error:
        if (lasting := grpc_failure(str(error), where, target)) is not None:
            raise lasting from error
        raise SlipwayError(Reason.BUILDER_BUSY, f"{where} is out of reach: {_message(error)}") from error
    except (api.GoogleAPIError, auth.GoogleAuthError) as error:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{where} refuses the build: {_message(error)}",
            hint="Fix the setting that is named: registry, region, build_account, build_machine, build_pool or build_logs.",
        ) from error


def _message(error: Exception) -> str:
    """The service's own text, cut short."""
    return str(getattr(error, "message", "") or error)[:MAX_MESSAGE]
