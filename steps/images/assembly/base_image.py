"""The image to build on: its manifest for one platform, its configuration, and the Python inside.

The packages must be those of the base's own Python. Images made from Docker's official ``python`` say which it is
(``PYTHON_VERSION`` in their environment); of others the layers are looked through for Python's own library, as a stream,
without unpacking anything.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from steps.core.errors import Reason, SlipwayError
from steps.images.registry.reference import Reference
from steps.images.registry.repository import DOCKER, INDEX, LAYER, Descriptor, Repository, digest_of

PLATFORM = ("linux", "amd64")  # what is taken of an image for several
_LIBRARY = re.compile(r"(?:\./)?(?:usr/|usr/local/|opt/[^/]+/)?lib/python(3\.[0-9]+)/os\.pyc?")
_KINDS = (LAYER, f"{LAYER}+gzip", f"{LAYER}+zstd")


@dataclass(frozen=True)
class Base:
    """A base image: ``digest`` is that of its manifest, ``layers`` go from the lowest to the highest."""

    reference: Reference
    digest: str
    config: dict[str, Any]
    layers: tuple[Descriptor, ...]
    python: str  # "3.11"

    @property
    def architecture(self) -> str:
        return str(self.config["architecture"])


def read_base(reference: Reference, repository: Repository) -> Base:
    """Read all about an image but its layers. Raises ``SourceNotFound``, ``SourceProtocol``, or ``InvalidInput`` for an image
    that no service can be built on."""
    kind, data = repository.manifest(reference.asked)
    try:
        if (kind or json.loads(data).get("mediaType")) == INDEX:
            data = repository.manifest(_choose(json.loads(data), reference))[1]
        manifest = json.loads(data)
        config = json.loads(repository.read(_descriptor(manifest["config"])))
        layers = tuple(_descriptor(layer) for layer in manifest["layers"])
        if len(config["rootfs"]["diff_ids"]) != len(layers) or config["os"] != "linux":
            raise ValueError("its configuration is not that of its layers, or not for Linux")
        for layer in layers:
            if layer.media_type not in _KINDS:
                raise ValueError(f"it has a layer of the type {layer.media_type!r}")
        python = _told_python(config) or _find_python(layers, repository)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SlipwayError(
            Reason.SOURCE_PROTOCOL, f"{reference} is no image that can be built on: {error}.", hint="Choose another base image."
        ) from None
    if not python:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{reference} holds no Python that can be told.",
            hint="Use a base image with Python, such as python:3.11-slim-bookworm, or set PYTHON_VERSION in its environment.",
        )
    return Base(reference, digest_of(data), config, layers, python)


def _choose(index: dict[str, Any], reference: Reference) -> str:
    """The digest of the manifest for ``PLATFORM``."""
    found = []
    for entry in index["manifests"]:
        platform = entry.get("platform") or {}
        found.append(f"{platform.get('os')}/{platform.get('architecture')}")
        if (platform.get("os"), platform.get("architecture")) == PLATFORM:
            return str(entry["digest"])
    raise SlipwayError(
        Reason.INVALID_INPUT,
        f"{reference} is for {', '.join(found[:8])}, not for {'/'.join(PLATFORM)}.",
        hint="Choose another.",
    )


def _descriptor(value: dict[str, Any]) -> Descriptor:
    digest, size = value["digest"], value["size"]
    if not re.fullmatch("sha256:[0-9a-f]{64}", digest) or not isinstance(size, int):
        raise ValueError("a digest in its manifest is none that is known here")
    return Descriptor(DOCKER.get(value["mediaType"], value["mediaType"]), digest, size)


def _told_python(config: dict[str, Any]) -> str:
    told = dict(entry.split("=", 1) for entry in config.get("config", {}).get("Env") or [] if "=" in entry)
    found = re.match(r"3\.[0-9]+", told.get("PYTHON_VERSION", ""))
    return found.group() if found else ""


def _find_python(layers: tuple[Descriptor, ...], repository: Repository) -> str:
    """The one version whose library lies in the layers; empty for none and for several."""
    found: set[str] = set()
    for layer in layers:
        if layer.media_type.endswith("zstd"):  # which Python cannot read before 3.14
            return ""
        found |= repository.retrying(lambda layer=layer: _pythons(layer, repository))  # type: ignore[misc]
    return found.pop() if len(found) == 1 else ""


def _pythons(layer: Descriptor, repository: Repository) -> set[str]:
    try:
        with tarfile.open(fileobj=_Stream(repository.blob(layer)), mode="r|*") as tar:  # type: ignore[call-overload]
            return {match.group(1) for member in tar if (match := _LIBRARY.fullmatch(member.name))}
    except tarfile.TarError as error:
        raise ValueError(f"its layer {layer.digest[:19]} is no tar file ({error})") from None


class _Stream:
    """An iterator of chunks as the file that ``tarfile`` reads a stream from: any number of bytes will do, but none."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _: int) -> bytes:
        return next(self._chunks, b"")
