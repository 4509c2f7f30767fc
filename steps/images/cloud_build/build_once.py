"""One build for an order, however often and wherever it is asked for.

Cloud Build's create call has no key that would make a second call harmless, and its list may be behind. So every attempt
first looks for a build that carries the order's tags and takes it over; and the store, which is never behind, remembers three
things under ``cloudbuild/``: that a build was about to be asked for, the id that came back, and which builds are settled:
their failure was told, or somebody cancelled them on purpose. Only a settled failure makes room for a new build.

    asked, no id ──► look for a while ──► take over, or ask again          several active ──► the oldest stays
"""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from steps.core.contract import Context
from steps.core.digest import canonical_json
from steps.core.errors import Reason, SlipwayError
from steps.core.settings import Settings, read_settings
from steps.images.cloud_build.client import Build, Builds, LostAnswer, Status
from steps.images.cloud_build.log import tail
from steps.images.cloud_build.request import Order

CREATIONS = 3  # how often a build is asked for while no answer comes
TOLD, CANCELLED = "told", "cancelled"  # why a build is settled
PAUSES = (2.0, 4.0, 8.0, 16.0, 30.0)  # seconds between looks for a build that may exist


class Asked(BaseModel):
    """What the store knows of an order: whether a build was asked for, and its id as soon as that is known."""

    asked: bool = False
    build: str = ""


class Single:
    """The one build of an order."""

    def __init__(self, order: Order, builds: Builds, context: Context) -> None:
        self._order, self._builds, self._context = order, builds, context
        self._key = f"cloudbuild/{order.archive_digest}/{order.digest}.json"
        self._watched: set[str] = set()

    def find_or_create(self) -> Build:
        """The build: it has succeeded, or is active. Raises what ``look`` raises, and what the service refuses."""
        if found := self.look():
            return found
        asked = _asked(self._context, self._key)
        if asked.asked and not asked.build and (found := self._look_for_a_while()):
            return found
        return self._create()

    def look(self) -> Build | None:
        """The oldest successful build, else the oldest active one; None where there is none and nothing to tell.

        All other active ones are cancelled. A failure that nobody has told yet is raised: ``BuildFailed``, or
        ``BuilderBusy`` where it was Google's own.
        """
        found = {build.id: build for build in self._builds.of_archive(self._order.archive_digest) if self._ours(build)}
        known = _asked(self._context, self._key).build
        if known and known not in found and (build := self._builds.get(known)):
            found[known] = build
        builds = sorted(found.values(), key=lambda build: (build.created, build.id))
        active = [build for build in builds if build.status.active]
        kept = [*(build for build in builds if build.status is Status.SUCCESS), *active][:1]
        for build in active:
            if build not in kept:
                self._context.progress.note(f"Build {build.id} is one too many for {self._order.image}: it is cancelled.")
                _cancel(build, self._builds, self._context)
        if kept:
            self._watched.add(kept[0].id)
            return kept[0]
        untold = [build for build in builds if self._untold(build)]
        if untold:
            failure = self._failure(untold[-1])
            for build in untold:
                _settle(self._context, build.id, TOLD)
            raise failure
        return None

    def _ours(self, build: Build) -> bool:
        return self._order.image_tag in build.tags and build.generation == self._order.source.generation

    def _untold(self, build: Build) -> bool:
        """Of a build that this process has watched, it is to say what became of it, even if another has said so."""
        why = _settled(self._context, build.id)
        return not why or (why == TOLD and build.id in self._watched)

    def _create(self) -> Build:
        lost = ""
        for _ in range(CREATIONS):
            _remember(self._context, self._key, Asked(asked=True))
            try:
                created = self._builds.create(self._order)
            except LostAnswer as error:
                lost = str(error)
                self._context.progress.note(f"Cloud Build's answer was lost ({lost}): looking for the build.")
                if found := self._look_for_a_while():
                    return found
                continue
            except SlipwayError:
                _remember(self._context, self._key, Asked())  # it was refused: there is no build to look for
                raise
            _remember(self._context, self._key, Asked(asked=True, build=created.id))
            self._context.progress.note(f"Build {created.id} makes {self._order.image}. {created.page}".rstrip())
            return self.look() or created
        raise SlipwayError(
            Reason.BUILDER_BUSY, f"Cloud Build was asked {CREATIONS} times for {self._order.image} and lost each answer: {lost}"
        )

    def _look_for_a_while(self) -> Build | None:
        for pause in PAUSES:
            self._context.clock.sleep(pause)
            if found := self.look():
                return found
        return None

    def _failure(self, build: Build) -> SlipwayError:
        said = f"Build {build.id} of {self._order.image} ended with {build.status}"
        said += f": {build.detail}" if build.detail else "."
        if build.passing or build.status in (Status.INTERNAL_ERROR, Status.EXPIRED):
            return SlipwayError(Reason.BUILDER_BUSY, said, hint="Run again: another build is started.")
        hint = {
            Status.TIMEOUT: "Raise `build_timeout`, or name a larger `build_machine`; then run again.",
            Status.CANCELLED: "Somebody cancelled it; run again for a new build.",
        }.get(build.status, "Mend what the log names and run again for a new build.")
        page = f" All of it: {build.page}" if build.page else ""
        return SlipwayError(Reason.BUILD_FAILED, f"{said}\n{tail(build)}", hint=hint + page)


def cancel(archive_digest: str, context: Context, settings: Settings | None = None) -> list[str]:
    """Cancel every active build of an archive and return their ids; a later run then starts a new one.

    For whoever stops a run for good: the exit handler of a workflow that was terminated, Ctrl-C. ``context.store`` must be
    the store of the run. Where a build was asked for and its answer never came, it is looked for a while.
    """
    with Builds(settings or read_settings(), context.clock) as builds:
        cancelled = []
        for pause in (0.0, *PAUSES):
            if pause:
                context.clock.sleep(pause)
            records = [_asked(context, key) for key in context.store.list(f"cloudbuild/{archive_digest}/")]
            found = {build.id: build for build in builds.of_archive(archive_digest)}
            for record in records:
                if record.build and record.build not in found and (build := builds.get(record.build)):
                    found[build.id] = build
            for build in found.values():
                if build.status.active and build.id not in cancelled:
                    _cancel(build, builds, context)
                    cancelled.append(build.id)
            if cancelled or not any(record.asked and not record.build for record in records):
                break
    return cancelled


def _cancel(build: Build, builds: Builds, context: Context) -> None:
    _settle(context, build.id, CANCELLED)  # first: whoever finds it cancelled must not take it for a failure
    builds.cancel(build.id)


def _asked(context: Context, key: str) -> Asked:
    if context.store.size(key) is None:
        return Asked()
    try:
        return Asked.model_validate_json(b"".join(context.store.read(key)))
    except ValidationError:
        return Asked(asked=True)


def _remember(context: Context, key: str, asked: Asked) -> None:
    context.store.write(key, canonical_json(asked.model_dump()))


def _settled(context: Context, build: str) -> str:
    """Why a build is settled; empty where it is not."""
    key = f"cloudbuild/settled/{build}"
    return "" if context.store.size(key) is None else b"".join(context.store.read(key)).decode()


def _settle(context: Context, build: str, why: str) -> None:
    context.store.write(f"cloudbuild/settled/{build}", why.encode())
