"""The step cloudbuild: start the build of the planned image in Google Cloud Build, and follow it.

A build takes minutes to an hour, and no pod waits that long: the step finds or starts the build, polls it for at most ``wait``
seconds, and ends with ``BuildRunning`` (exit code 75) while it runs. The workflow's retry of this step polls again, and takes
over the same build. On a laptop the step waits for a day, unless ``build_wait`` is set.
"""

from __future__ import annotations

import re

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.documents import BuildPlan
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Sha256
from steps.core.names import ModelName
from steps.core.settings import read_settings
from steps.core.store import StoreKey
from steps.images.cloud_build.build_once import SingleBuild, cancel_builds
from steps.images.cloud_build.client import Build, CloudBuildClient, Status
from steps.images.cloud_build.request import CloudBuildRequest, find_source, source_digest

POLL = 5.0  # seconds between two requests for the build's status
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class CloudBuildInputs(Inputs):
    """Which plan to build, and how long to wait."""

    name: ModelName = Field(description="name of the model, a DNS label of at most 40 characters")
    service: str = Field(description="task that the image serves")
    archive: StoreKey = Field(description="store key of the archive")
    archive_digest: Sha256 = Field(description="SHA-256 that the archive must have")
    plan: StoreKey = Field(description="store key of the plan that the step build wrote")
    wait: int = Field(
        default_factory=lambda: read_settings().build_wait,
        description="seconds to wait for the build before the step ends with BuildRunning",
        ge=0,
    )


class CloudBuildOutputs(Outputs):
    """The image that was built."""

    plan: str = Field(description="store key of the plan with the image's digest")
    image: str = Field(description="name and tag of the image")
    image_digest: str = Field(description="digest of the image, sha256:…")
    build: str = Field(description="id of the build in Cloud Build")


def run(inputs: CloudBuildInputs, context: Context) -> CloudBuildOutputs:
    """Have Google Cloud Build build and push the planned image.

    Reads the plan, and the archive's generation in its ``gs://`` bucket, which Cloud Build reads itself. Settings name the
    project, region, service account and machine. The image's digest counts only when the build is verified and its source was
    the archive.

    Publishes the plan with the image's digest under ``plans/``, and keeps the build's id under ``cloudbuild/``.

    Repeating: the build of an earlier attempt is found by its tags and taken over; only a failed or cancelled build, whose
    failure was reported, is replaced by a new one. Ctrl-C cancels the build, SIGTERM does not.

    Raises:
        SlipwayError: ``InvalidInput`` for wrong inputs or settings; ``StoreUnreadable`` without plan or archive;
            ``BuildFailed`` with the end of the log; ``DigestMismatch`` when the source was not the archive; ``AccessDenied``
            without credentials or rights; ``MissingDependency`` without the extra ``gcp``; ``BuildRunning`` and
            ``BuilderBusy`` when a retry may help.
    """
    settings = read_settings()
    plan = context.read_document(inputs.plan, BuildPlan)
    source = find_source(context.store, inputs.archive)
    request = CloudBuildRequest(
        inputs.name, inputs.archive_digest, plan.image, plan.base_image, plan.labels, source, settings.build_index
    )
    try:
        with CloudBuildClient(settings, context.clock) as client:
            build = finished(SingleBuild(request, client, context), inputs.wait, context)
    except KeyboardInterrupt:  # a pod that is moved gets SIGTERM instead, and its next attempt takes the build over
        try:
            for stopped in cancel_builds(inputs.archive_digest, context, settings):
                context.progress.note(f"Build {stopped} is cancelled.")
        except SlipwayError as error:
            context.progress.note(f"Builds of {plan.image} may go on: {error.message}")
        raise
    digest = image_digest(build, request)
    context.progress.note(f"Build {build.id} made {plan.image}, {digest}.")
    done = plan.model_copy(update={"image_digest": digest})
    return CloudBuildOutputs(
        plan=context.publish_document("plans", done), image=plan.image, image_digest=digest, build=build.id
    )


def finished(single: SingleBuild, wait: float, context: Context) -> Build:
    """Wait for the build and return it when it has succeeded; raises ``BuildRunning`` after ``wait`` seconds."""
    until = context.clock.monotonic() + wait
    noted = None
    build = single.find_or_create()
    while build.status is not Status.SUCCESS:
        if (build.id, build.status) != noted:
            noted = build.id, build.status
            context.progress.note(f"Build {build.id} is {build.status}.")
        left = until - context.clock.monotonic()
        if left <= 0:
            minutes = max(0.0, (context.clock.now() - build.created).total_seconds()) / 60
            raise SlipwayError(
                Reason.BUILD_RUNNING, f"Build {build.id} is {build.status}, {minutes:.0f} minutes after it was requested."
            )
        context.clock.sleep(min(POLL, left))
        build = single.find_or_create()
    return build


def image_digest(build: Build, request: CloudBuildRequest) -> str:
    """Return the digest of the requested image, after checking what Cloud Build states about the build's source.

    The build requested ``VERIFIED``: it succeeds only when its provenance was made and stored
    (https://cloud.google.com/build/docs/securing-builds/generate-validate-build-provenance). The provenance itself is with the
    image in Artifact Registry and not in this API. What the API has is the source's generation and the SHA-256 of what was
    fetched, which must be the archive's; without the latter, that generation of the object is read here.

    Raises:
        SlipwayError: ``BuildFailed`` without a digest or verification, ``DigestMismatch`` for another source.
    """
    begin = f"Build {build.id} has succeeded, and"
    digest = build.images.get(request.image, "")
    if not _DIGEST.fullmatch(digest):
        raise SlipwayError(Reason.BUILD_FAILED, f"{begin} its answer has no digest of {request.image}.")
    if not build.verified:
        raise SlipwayError(Reason.BUILD_FAILED, f"{begin} Cloud Build did not verify it.")
    found = build.sha256 or (source_digest(request.source),)
    if request.archive_digest not in found:
        raise SlipwayError(
            Reason.DIGEST_MISMATCH,
            f"{begin} not of the archive: its source has sha256 {', '.join(found)}, not {request.archive_digest}.",
        )
    return digest


STEP = Step("cloudbuild", "Have Google Cloud Build make the image.", CloudBuildInputs, CloudBuildOutputs, run)

if __name__ == "__main__":
    main(STEP)
