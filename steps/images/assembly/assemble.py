"""An image from its parts: configuration, manifest, and everything into the registry.

The digest is a function of the base image, the layers and the labels: no clock, no host, no order of work leaves a trace.
Times are 1970, keys are sorted. The manifest goes last, so that a name never leads to half an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from steps.core.digest import canonical_json
from steps.core.progress import Meter, Progress
from steps.core.text import format_bytes
from steps.images import description as image
from steps.images.assembly.base_image import Base
from steps.images.assembly.layers import Layer
from steps.images.registry.reference import Reference
from steps.images.registry.repository import CONFIG, MANIFEST, Descriptor, Repository, digest_of

CREATED = "1970-01-01T00:00:00Z"
# What an image takes over from its base; the rest (how to start, what to look at) is the base's own affair.
INHERITED = ("Env", "Labels", "StopSignal", "Volumes")


@dataclass(frozen=True)
class Assembled:
    """An image before it is pushed: both documents byte for byte."""

    base: Base
    layers: tuple[Layer, ...]
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def assemble(base: Base, layers: Sequence[Layer], labels: Mapping[str, str]) -> Assembled:
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
    return Assembled(base, tuple(layers), config, manifest)


def push(assembled: Assembled, target: Reference, source: Repository, repository: Repository, progress: Progress) -> str:
    """Put all that the target's repository lacks, then the manifest under its tag; returns the image's digest.

    The base's layers are taken from ``source``: without moving a byte where both are repositories of one registry.
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
        known = "" if moved else ", there already"
        progress.note(f"Layer of {layer.purpose}: {format_bytes(layer.blob.size)}, {layer.blob.digest}{known}.")
    config = Descriptor(CONFIG, digest_of(assembled.config), len(assembled.config))
    sent += repository.upload(config, lambda: [assembled.config], what="configuration")
    digest = repository.push_manifest(target.tag, assembled.manifest)
    progress.note(f"{target}: {digest}, {format_bytes(sent)} sent of {format_bytes(total)}.")
    return digest


class _Counted:
    """The bytes of a blob, told to a meter as they go; a new try begins to count where the last one did."""

    def __init__(self, meter: Meter, chunks: Callable[[], Iterable[bytes]]) -> None:
        self._meter, self._chunks, self._told = meter, chunks, 0

    def __call__(self) -> Iterator[bytes]:
        self.settle(0)
        for chunk in self._chunks():
            self.settle(self._told + len(chunk))
            yield chunk

    def settle(self, size: int) -> None:
        self._meter.advance(size - self._told)
        self._told = size


def _run_config(base: Base, labels: Mapping[str, str]) -> dict[str, Any]:
    inherited = base.config.get("config") or {}
    config = {name: inherited[name] for name in INHERITED if inherited.get(name)}
    variables = dict(entry.split("=", 1) for entry in config.get("Env", []) if "=" in entry)
    return {
        **config,
        "Env": [f"{name}={value}" for name, value in {**variables, **image.ENVIRONMENT}.items()],
        "Labels": {**config.get("Labels", {}), **labels},
        "User": image.USER,
        "WorkingDir": image.HOME,
        "Entrypoint": list(image.ENTRYPOINT),
        "ExposedPorts": {f"{image.PORT}/tcp": {}},
    }


def _history(base: Base) -> list[Any]:
    """The base's history if it tells of its layers one by one, as the specification wants; else a line for each layer."""
    history = base.config.get("history") or []
    if sum(not entry.get("empty_layer") for entry in history) == len(base.layers):
        return list(history)
    return [{"created": CREATED, "created_by": str(base.reference)} for _ in base.layers]
