"""One build for one request, however often and wherever it is made.

Cloud Build's create call has no idempotency key, and its list is eventually consistent. So every attempt first looks for a
build that carries the request's tags and takes it over; and the store, which is consistent, keeps three things under
``cloudbuild/``: that a build is about to be requested, the id that came back, and which builds are settled: their failure was
reported, or they were cancelled on purpose. Only when the last failure is settled is a new build made.

    requested, no id ──► search for a minute ──► take over, or request again          several active ──► the oldest stays
"""

from __future__ import annotations

from itertools import islice

from pydantic import BaseModel, ValidationError

from steps.core.contract import Context
from steps.core.digest import canonical_json
from steps.core.errors import Reason, SlipwayError
from steps.core.json_reader import InvalidJsonError, read_model
from steps.core.settings import Settings, read_settings
from steps.images.cloud_build.client import Build, CloudBuildClient, LostResponse, Status
from steps.images.cloud_build.log import read_log_end
from steps.images.cloud_build.request import CloudBuildRequest
from steps.net.retry import RetryPolicy

CREATIONS = 3  # how often a build is requested while every response is lost
REPORTED, CANCELLED = "reported", "cancelled"  # why a build is settled
# Of looking for a build that may exist and is not in the list yet. It takes about a minute.
SEARCH = RetryPolicy(attempts=6, first=2.0, longest=30.0)


class BuildRecord(BaseModel):
    """What the store knows of a request: whether a build was requested, and its id as soon as that is known."""

    requested: bool = False
    build: str = ""


class SingleBuild:
    """The one build of a request."""

    def __init__(self, request: CloudBuildRequest, client: CloudBuildClient, context: Context) -> None:
        self._request, self._client, self._context = request, client, context
        self._key = f"cloudbuild/{request.archive_digest}/{request.digest}.json"
        self._watched: set[str] = set()

    def find_or_create(self) -> Build:
        """The build: it has succeeded, or is active.

        Raises:
            SlipwayError: What ``find`` raises, and what the service refuses.
        """
        if found := self.find():
            return found
        record = _read_record(self._context, self._key)
        if record.requested and not record.build and (found := self._search()):
            return found
        return self._create()

    def find(self) -> Build | None:
        """The oldest successful build, else the oldest active one; None where there is none and no failure to report.

        All other active builds are cancelled.

        Raises:
            SlipwayError: A failure that was not reported yet: ``BuildFailed``, or ``BuilderBusy`` where it was Google's own.
        """
        found = {
            build.id: build for build in self._client.of_archive(self._request.archive_digest) if self._is_of_request(build)
        }
        known = _read_record(self._context, self._key).build
        if known and known not in found and (build := self._client.get(known)):
            found[known] = build
        builds = sorted(found.values(), key=lambda build: (build.created, build.id))
        active = [build for build in builds if build.status.active]
        kept = [*(build for build in builds if build.status is Status.SUCCESS), *active][:1]
        for build in active:
            if build not in kept:
                self._context.progress.note(f"Build {build.id} is a duplicate for {self._request.image}: it is cancelled.")
                _cancel(build, self._client, self._context)
        if kept:
            self._watched.add(kept[0].id)
            return kept[0]
        unreported = [build for build in builds if self._is_unreported(build)]
        if unreported:
            failure = self._failure(unreported[-1])
            for build in unreported:
                _settle(self._context, build.id, REPORTED)
            raise failure
        return None

    def _is_of_request(self, build: Build) -> bool:
        return self._request.image_tag in build.tags and build.generation == self._request.source.generation

    def _is_unreported(self, build: Build) -> bool:
        """A process that has watched a build reports its failure even if another process has done so."""
        why = _settled(self._context, build.id)
        return not why or (why == REPORTED and build.id in self._watched)

    def _create(self) -> Build:
        lost = ""
        for _ in range(CREATIONS):
            _write_record(self._context, self._key, BuildRecord(requested=True))
            try:
                created = self._client.create(self._request)
            except LostResponse as error:
                lost = str(error)
                self._context.progress.note(f"The response of Cloud Build was lost ({lost}): searching for the build.")
                if found := self._search():
                    return found
                continue
            except SlipwayError:
                _write_record(self._context, self._key, BuildRecord())  # it was refused: there is no build to search for
                raise
            _write_record(self._context, self._key, BuildRecord(requested=True, build=created.id))
            self._context.progress.note(f"Build {created.id} makes {self._request.image}. {created.page}".rstrip())
            return self.find() or created
        raise SlipwayError(
            Reason.BUILDER_BUSY,
            f"A build of {self._request.image} was requested {CREATIONS} times, and each response was lost: {lost}",
        )

    def _search(self) -> Build | None:
        for pause in search_pauses():
            self._context.clock.sleep(pause)
            if found := self.find():
                return found
        return None

    def _failure(self, build: Build) -> SlipwayError:
        text = f"Build {build.id} of {self._request.image} ended with {build.status}"
        text += f": {build.detail}" if build.detail else "."
        if build.transient or build.status in (Status.INTERNAL_ERROR, Status.EXPIRED):
            return SlipwayError(Reason.BUILDER_BUSY, text, hint="Run again: another build is started.")
        hint = {
            Status.TIMEOUT: "Raise `build_timeout`, or name a larger `build_machine`; then run again.",
            Status.CANCELLED: "Somebody cancelled it; run again for a new build.",
        }.get(build.status, "Fix what the log reports, and run again for a new build.")
        page = f" The whole log: {build.page}" if build.page else ""
        return SlipwayError(Reason.BUILD_FAILED, f"{text}\n{read_log_end(build)}", hint=hint + page)


def search_pauses() -> list[float]:
    """Seconds to wait before each look for a build that may exist."""
    return list(islice(SEARCH.delays(), (SEARCH.attempts or 1) - 1))


def cancel_builds(archive_digest: str, context: Context, settings: Settings | None = None) -> list[str]:
    """Cancel every active build of an archive and return their ids; a later run then starts a new one.

    This is for stopping a run for good: the exit handler of a workflow that was terminated, Ctrl-C. Where a build was
    requested and the response was lost, it is searched for about a minute.

    Args:
        archive_digest: sha256 of the archive, in hex.
        context: a context with the store of the run.
        settings: where Cloud Build is; those of this process where it is None.

    Raises:
        SlipwayError: what Cloud Build answers (``AccessDenied``, ``BuilderBusy`` …).
    """
    with CloudBuildClient(settings or read_settings(), context.clock) as client:
        cancelled: list[str] = []
        for pause in (0.0, *search_pauses()):
            if pause:
                context.clock.sleep(pause)
            records = [_read_record(context, key) for key in context.store.list(f"cloudbuild/{archive_digest}/")]
            found = {build.id: build for build in client.of_archive(archive_digest)}
            for record in records:
                if record.build and record.build not in found and (build := client.get(record.build)):
                    found[build.id] = build
            for build in found.values():
                if build.status.active and build.id not in cancelled:
                    _cancel(build, client, context)
                    cancelled.append(build.id)
            if cancelled or not any(record.requested and not record.build for record in records):
                break
    return cancelled


def _cancel(build: Build, client: CloudBuildClient, context: Context) -> None:
    _settle(context, build.id, CANCELLED)  # first: nobody may take a build that was cancelled for a failure
    client.cancel(build.id)


def _read_record(context: Context, key: str) -> BuildRecord:
    """The record of a request. One that cannot be read says that a build was requested, so that it is searched for."""
    if context.store.size(key) is None:
        return BuildRecord()
    try:
        return read_model(context.read_small(key), BuildRecord)
    except (ValidationError, InvalidJsonError):
        return BuildRecord(requested=True)


def _write_record(context: Context, key: str, record: BuildRecord) -> None:
    context.store.write(key, canonical_json(record.model_dump()))


def _settled(context: Context, build: str) -> str:
    """Why a build is settled; empty where it is not."""
    key = f"cloudbuild/settled/{build}"
    return "" if context.store.size(key) is None else b"".join(context.store.read(key)).decode()


def _settle(context: Context, build: str, why: str) -> None:
    context.store.write(f"cloudbuild/settled/{build}", why.encode())
