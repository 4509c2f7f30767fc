"""Assemble an image from its parts, and push it: configuration, manifest, layers.

The digest is a function of the base image, the layers and the labels, and of no clock, host or order of work: times are 1970,
keys are sorted. The manifest is pushed last, so that a name never leads to an incomplete image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from steps.core.digest import canonical_json
from steps.core.progress import Meter, Progress
from steps.core.text import format_bytes
from steps.images import description as image
from steps.images.assembly.base_image import BaseImage
from steps.images.assembly.documents import HistoryEntry, RunConfig
from steps.images.assembly.layers import Layer
from steps.images.registry.reference import Reference
from steps.images.registry.repository import CONFIG, MANIFEST, Descriptor, Repository, digest_of

CREATED = "1970-01-01T00:00:00Z"
# The fields that an image inherits from its base. The others (how to start, health checks) are about the base's own program.
INHERITED = ("Env", "Labels", "StopSignal", "Volumes")


@dataclass(frozen=True)
class AssembledImage:
    """An image before it is pushed; ``config`` and ``manifest`` are the bytes of its documents."""

    base: BaseImage
    layers: tuple[Layer, ...]
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """The image's digest, ``sha256:…``: that of its manifest."""
        return digest_of(self.manifest)


def assemble(base: BaseImage, layers: Sequence[Layer], labels: Mapping[str, str]) -> AssembledImage:
    """The image of these layers on a base, as ``steps.images.description`` describes it."""
    source = f"{base.reference.host}/{base.reference.repository}" + (f":{base.reference.tag}" if base.reference.tag else "")
    origin = {"org.opencontainers.image.base.name": source, "org.opencontainers.image.base.digest": base.digest}
    config = canonical_json(
        {
            "created": CREATED,
            "architecture": base.architecture,
            "os": "linux",
            **({"variant": base.config["variant"]} if "variant" in base.config else {}),
            "config": _run_config(base, {**labels, **origin}),
            "rootfs": {"type": "layers", "diff_ids": [*base.config["rootfs"]["diff_ids"], *(each.diff_id for each in layers)]},
            "history": [*_history(base), *({"created": CREATED, "created_by": f"slipway: {each.purpose}"} for each in layers)],
        }
    )
    manifest = canonical_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor(CONFIG, digest_of(config), len(config)).as_json(),
            "layers": [each.as_json() for each in (*base.layers, *(layer.blob for layer in layers))],
            "annotations": origin,
        }
    )
    return AssembledImage(base, tuple(layers), config, manifest)


def push(assembled: AssembledImage, target: Reference, source: Repository, repository: Repository, progress: Progress) -> str:
    """Upload the blobs that are missing in the target's repository, then the manifest, and return the image's digest.

    Args:
        assembled: the image.
        target: its name; the manifest gets its tag.
        source: the base image's repository. Its layers are mounted where both are repositories of one registry, else copied.
        repository: the target's repository.
        progress: shows the bytes, and a line for each layer.
    """
    total = sum(layer.size for layer in assembled.base.layers) + sum(layer.blob.size for layer in assembled.layers)
    meter = progress.meter("pushing", total)
    mount_from = source.name if source.host == repository.host else ""
    sent = 0
    for blob in assembled.base.layers:
        counted = _Counted(meter, partial(source.blob, blob))
        sent += repository.upload(blob, counted, what=f"base layer {blob.digest[:19]}", mount_from=mount_from)
        counted.settle(blob.size)
    for layer in assembled.layers:
        counted = _Counted(meter, layer.chunks)
        moved = repository.upload(layer.blob, counted, what=f"layer of {layer.purpose}")
        counted.settle(layer.blob.size)
        sent += moved
        known = "" if moved else ", already there"
        progress.note(f"Layer of {layer.purpose}: {format_bytes(layer.blob.size)}, {layer.blob.digest}{known}.")
    config = Descriptor(CONFIG, digest_of(assembled.config), len(assembled.config))
    sent += repository.upload(config, lambda: [assembled.config], what="configuration")
    digest = repository.push_manifest(target.tag, assembled.manifest)
    progress.note(f"{target}: {digest}, {format_bytes(sent)} sent of {format_bytes(total)}.")
    return digest


class _Counted:
    """The bytes of a blob, counted by a meter as they are sent; a new try counts from the blob's beginning again."""

    def __init__(self, meter: Meter, chunks: Callable[[], Iterable[bytes]]) -> None:
        self._meter, self._chunks, self._count = meter, chunks, 0

    def __call__(self) -> Iterator[bytes]:
        self.settle(0)
        for chunk in self._chunks():
            self.settle(self._count + len(chunk))
            yield chunk

    def settle(self, size: int) -> None:
        self._meter.advance(size - self._count)
        self._count = size


def _run_config(base: BaseImage, labels: Mapping[str, str]) -> Mapping[str, object]:
    inherited: RunConfig = base.config.get("config") or {}
    variables = dict(entry.split("=", 1) for entry in inherited.get("Env") or [] if "=" in entry)
    return {
        **{name: value for name, value in inherited.items() if name in INHERITED and value},
        "Env": [f"{name}={value}" for name, value in {**variables, **image.ENVIRONMENT}.items()],
        "Labels": {**(inherited.get("Labels") or {}), **labels},
        "User": image.USER,
        "WorkingDir": image.HOME,
        "Entrypoint": list(image.ENTRYPOINT),
        "ExposedPorts": {f"{image.PORT}/tcp": {}},
    }


def _history(base: BaseImage) -> list[HistoryEntry]:
    """The base's history where it has an entry for each layer, as the specification requires; else an entry made for each."""
    history = base.config.get("history") or []
    if sum(not entry.get("empty_layer") for entry in history) == len(base.layers):
        return list(history)
    return [{"created": CREATED, "created_by": str(base.reference)} for _ in base.layers]
