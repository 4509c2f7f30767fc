"""Cloud Build's API through google-cloud-build: create, list, get and cancel, with our reasons for what goes wrong.

The endpoint is a setting; certificate authorities and credentials are what the libraries find by themselves
(``GRPC_DEFAULT_SSL_ROOTS_FILE_PATH``, ``GOOGLE_APPLICATION_CREDENTIALS``). Without a setting the library's own endpoint is
asked, which serves all regions; Google has regional ones besides (``cloudbuild.REGION.rep.googleapis.com``), not for every
region, for those who must keep requests inside of one: https://cloud.google.com/build/docs/locations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError, missing_extra
from steps.core.settings import Settings
from steps.images.cloud_build.request import Order, archive_tag, location

TIMEOUT = 30.0  # seconds for one call
PAUSES = (1.0, 2.0, 4.0)  # seconds between the attempts of a call that changes nothing
PAGE = 100
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
        return self in (Status.STATUS_UNKNOWN, Status.PENDING, Status.QUEUED, Status.WORKING)


@dataclass(frozen=True)
class Build:
    """What Cloud Build tells of a build. ``sha256`` are the digests of the sources that it fetched, in hex."""

    id: str
    status: Status
    created: datetime
    tags: tuple[str, ...]
    generation: int
    images: Mapping[str, str]
    verified: bool
    sha256: tuple[str, ...]
    detail: str
    passing: bool  # the failure is one of Google's own, which another build need not have
    logs: str
    page: str


class LostAnswer(Exception):
    """Nobody knows whether a build was created."""


class Builds:
    """The builds of one project and region."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._location = location(settings)
        self._client, self._project = _connect(settings)

    def __enter__(self) -> Builds:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.transport.close()

    @property
    def parent(self) -> str:
        return f"projects/{self._project}/locations/{self._location}"

    def create(self, order: Order) -> Build:
        """Ask for a build, once. Raises ``LostAnswer`` where it may exist all the same."""
        from google.api_core import exceptions as api

        request = {"parent": self.parent, "project_id": self._project, "build": order.build(self._settings, self._project)}
        with _errors(f"Cloud Build in {self.parent}"):
            try:
                # Cloud Build knows no key of a request, so a second call would be a second build: no retry in here.
                operation = self._client.create_build(request, retry=None, timeout=TIMEOUT)
            except (api.ServerError, api.Aborted, api.Cancelled, api.RetryError) as error:
                raise LostAnswer(_say(error)) from error
        return _read(operation.metadata.build)

    def of_archive(self, archive_digest: str) -> list[Build]:
        """The builds that carry the archive's tag, as far as the list knows them: it may be a while behind."""
        request = {
            "parent": self.parent,
            "project_id": self._project,
            "filter": f'tags="{archive_tag(archive_digest)}"',
            "page_size": PAGE,
        }
        return self._ask(lambda: [_read(each) for each in self._client.list_builds(request, retry=None, timeout=TIMEOUT)])

    def get(self, build: str) -> Build | None:
        """A build by its id, or None where there is none."""
        from google.api_core.exceptions import NotFound

        request = {"name": f"{self.parent}/builds/{build}", "project_id": self._project, "id": build}

        def ask() -> Build | None:
            try:
                return _read(self._client.get_build(request, retry=None, timeout=TIMEOUT))
            except NotFound:
                return None

        return self._ask(ask)

    def cancel(self, build: str) -> None:
        """Cancel a build; one that has ended meanwhile is left as it is."""
        from google.api_core.exceptions import FailedPrecondition, NotFound

        request = {"name": f"{self.parent}/builds/{build}", "project_id": self._project, "id": build}

        def ask() -> None:
            with contextlib.suppress(FailedPrecondition, NotFound):
                self._client.cancel_build(request, retry=None, timeout=TIMEOUT)

        self._ask(ask)

    def _ask(self, call: Callable[[], T]) -> T:
        """A call that may be made again, made again a few times while the service is out of reach."""
        from google.api_core import exceptions as api

        with _errors(f"Cloud Build in {self.parent}"):
            for pause in PAUSES:
                try:
                    return call()
                except (api.ServerError, api.Aborted):
                    self._clock.sleep(pause)
            return call()


def _connect(settings: Settings) -> tuple[Any, str]:
    """Google's client, and the project."""
    try:
        import google.auth
        from google.auth.exceptions import DefaultCredentialsError
        from google.cloud.devtools import cloudbuild_v1
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
    options = {"api_endpoint": settings.build_endpoint} if settings.build_endpoint else None
    return cloudbuild_v1.CloudBuildClient(credentials=credentials, client_options=options), project


def _read(build: Any) -> Build:
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
        passing=build.failure_info.type_ == failure.LOGGING_FAILURE,
        logs=build.logs_bucket,
        page=build.log_url,
    )


@contextlib.contextmanager
def _errors(where: str) -> Iterator[None]:
    """Give what the library raises its reason."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    try:
        yield
    except (api.Forbidden, api.NotFound) as error:
        if isinstance(error, api.NotFound) or getattr(error, "reason", None) == "SERVICE_DISABLED":
            raise SlipwayError(
                Reason.ACCESS_DENIED,
                f"{where} is not there: {_say(error)}",
                hint="Check `project` and `region`, and switch the API on: gcloud services enable cloudbuild.googleapis.com",
            ) from error
        raise SlipwayError(
            Reason.ACCESS_DENIED,
            f"{where} is denied: {_say(error)}",
            hint="Grant the account that runs this roles/cloudbuild.builds.editor on the project, and, where builds have an "
            "account of their own, roles/iam.serviceAccountUser on that.",
        ) from error
    except (api.Unauthorized, auth.RefreshError, auth.InvalidOperation) as error:
        raise SlipwayError(
            Reason.ACCESS_DENIED,
            f"{where} does not take the credentials: {_say(error)}",
            hint="Run `gcloud auth application-default login`, or check the service account's key.",
        ) from error
    except api.MethodNotImplemented as error:
        raise SlipwayError(
            Reason.INVALID_INPUT, f"{where} is none: {_say(error)}", hint="Set `build_endpoint` to HOST:PORT of Cloud Build."
        ) from error
    except api.TooManyRequests as error:
        raise SlipwayError(Reason.BUILDER_BUSY, f"{where} is out of quota: {_say(error)}") from error
    except (api.ServerError, api.Aborted, api.Cancelled, api.RetryError, auth.TransportError) as error:
        raise SlipwayError(Reason.BUILDER_BUSY, f"{where} is out of reach: {_say(error)}") from error
    except (api.GoogleAPIError, auth.GoogleAuthError) as error:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{where} refuses the build: {_say(error)}",
            hint="Mend the setting that is named: registry, region, build_account, build_machine, build_pool or build_logs.",
        ) from error


def _say(error: Any) -> str:
    """What the service said, cut short."""
    return str(getattr(error, "message", "") or error)[:500]
