"""The step build: from the archive to a container image, or to a complete plan of one."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.digest import sha256_file
from steps.core.documents import BuildPlan, PlannedLayer
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Lock, Sha256
from steps.core.names import ModelName
from steps.core.redaction import redact
from steps.core.settings import IMAGE_PATTERN, REGISTRY_PATTERN, read_settings
from steps.core.store import StoreKey
from steps.images.builders.base import BuildRequest
from steps.images.builders.supported import BuilderKind, configured_builder
from steps.images.description import CODE, DOCKERFILE, REQUIREMENTS, WEIGHTS
from steps.images.description import labels as image_labels
from steps.package.unpack import MODEL, unpack_archive
from steps.tasks.table import resolve


class BuildInputs(Inputs):
    """Which archive to build an image of, and with what."""

    name: ModelName = Field(description="name of the model, a DNS label of at most 40 characters")
    service: str = Field(description="task that the image serves")
    archive: StoreKey = Field(description="store key of the archive")
    archive_digest: Sha256 = Field(description="SHA-256 that the archive must have")
    builder: BuilderKind = Field(
        default_factory=lambda: configured_builder(read_settings()), description="builder that makes the image"
    )
    registry: str = Field(
        default_factory=lambda: read_settings().registry,
        description="registry that the image is pushed to, HOST[:PORT][/PATH]; empty: it is not pushed",
        pattern=REGISTRY_PATTERN,
    )
    base_image: str = Field(
        default_factory=lambda: read_settings().base_image,
        description="image that the service's image is built on",
        pattern=IMAGE_PATTERN,
    )


class BuildOutputs(Outputs):
    """The image, or its plan."""

    plan: str = Field(description="store key of the build plan")
    image: str = Field(description="name and tag of the image")
    image_digest: str = Field(description="digest of the image, sha256:…; empty where this step only plans it")
    awaits: str = Field(description="step that has the image built after this one, such as cloudbuild; empty: none")


def run(inputs: BuildInputs, context: Context) -> BuildOutputs:
    """Build the container image of an archive, or write a complete plan of it.

    Reads the archive, which is unpacked into a private folder and checked against its digest and its lock. The builder decides
    what happens then: docs/images.md compares them.

    Publishes the build context under ``contexts/`` and the plan under ``plans/``; pushes the image where a registry is named.
    The image's tag is the beginning of the archive's digest.

    Repeating: with a receipt nothing is built, and the registry gets no request.

    Raises:
        SlipwayError: ``UnknownTask`` and ``InvalidInput`` for wrong inputs, settings or a missing registry;
            ``StoreUnreadable`` without the archive; ``DigestMismatch``, ``LockMismatch`` and ``UnsafePath`` for an archive
            that changed; ``BuilderMissing`` without a program that builds images; ``BuildFailed``; ``AccessDenied`` and
            ``ImageUnavailable`` from a registry; ``DiskFull``; ``BuilderBusy`` and ``NetworkUnreachable`` when a retry may
            help.
    """
    task = resolve(inputs.service)
    if inputs.builder.builder.needs_registry and not inputs.registry:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"The builder {inputs.builder} pushes the image, and no registry is named.",
            hint='Set SLIPWAY_REGISTRY, or `registry = "…"` in slipway.toml: HOST/PATH, such as '
            "REGION-docker.pkg.dev/PROJECT/REPOSITORY.",
        )
    builder = inputs.builder.builder.open()
    where = context.store.locate(inputs.archive)
    prefix = f"contexts/{inputs.name}-{task.name}-{inputs.archive_digest[:16]}"
    with context.private_folder() as scratch:
        folder = scratch / "context"
        lock = unpack_archive(context.store.read(inputs.archive), folder, sha256=inputs.archive_digest, what=where)
        request = BuildRequest(
            context=folder,
            image=image_name(inputs.registry, f"{inputs.name}-{task.name}", inputs.archive_digest),
            base_image=inputs.base_image,
            labels=labels(folder, inputs.archive_digest),
            lock=lock,
            step=context,
            registry=inputs.registry,
        )
        digest = builder.build(request, context.progress)
        layers = plan_layers(folder, inputs.base_image)
        publish_context(folder, prefix, lock, context)
    context.progress.note(f"The build context is in {context.store.locate(prefix)}.")
    command = builder.command(replace(request, context=Path(context.store.locate(prefix))))
    plan = BuildPlan(
        builder=builder.name,
        image=request.image,
        registry=inputs.registry,
        base_image=inputs.base_image,
        labels=dict(request.labels),
        context=prefix,
        dockerfile=f"{prefix}/{DOCKERFILE}",
        commands=[redact(shlex.join(command))] if command else [],
        layers=layers,
        image_digest=digest,
    )
    return BuildOutputs(
        plan=context.publish_document("plans", plan), image=plan.image, image_digest=digest, awaits=builder.later_step
    )


def image_name(registry: str, name: str, archive_digest: str) -> str:
    """Return the image's name; its tag is the beginning of the archive's digest, so that an archive has one image."""
    return f"{registry or 'slipway'}/{name}:{archive_digest[:12]}"


def labels(folder: Path, archive_digest: str) -> dict[str, str]:
    """Return the image's labels that come from the model."""
    return image_labels(json.loads((folder / "src/slipway.json").read_text()), archive_digest)


def plan_layers(folder: Path, base_image: str) -> list[PlannedLayer]:
    """Return the layers of the image, from the base up, with the bytes that each takes from the build context."""
    weights = size(folder / MODEL)
    packages = (folder / REQUIREMENTS).read_text().count("==")
    return [
        PlannedLayer(instruction=f"FROM {base_image}", purpose="base image", bytes=0),
        PlannedLayer(instruction="RUN pip install", purpose=f"{packages} locked packages", bytes=0),
        PlannedLayer(instruction=f"COPY {' '.join(WEIGHTS.sources)}", purpose=WEIGHTS.purpose, bytes=weights),
        PlannedLayer(instruction=f"COPY {' '.join(CODE.sources)}", purpose=CODE.purpose, bytes=size(folder) - weights),
    ]


def size(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def publish_context(folder: Path, prefix: str, lock: Lock, context: Context) -> None:
    """Publish each file of the build context under the prefix."""
    known = {f"{MODEL}/{file.path}": file.sha256 for file in lock.files}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        context.publish_file(f"{prefix}/{name}", path, sha256=known.get(name) or sha256_file(path))


STEP = Step("build", "Make the container image, or plan it to the last byte.", BuildInputs, BuildOutputs, run)

if __name__ == "__main__":
    main(STEP)
