"""The base image: its manifest for one platform, its configuration, and the version of Python in it.

The packages must be built for the base's own Python. Images made from Docker's official ``python`` name its version
(``PYTHON_VERSION`` in their environment); in others the layers are searched for Python's own library, as a stream, without
unpacking anything.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from steps.core.errors import Reason, SlipwayError
from steps.images.assembly.documents import DescriptorJson, ImageConfig, Index
from steps.images.registry.reference import Reference
from steps.images.registry.repository import DOCKER_TYPES, INDEX, LAYER, Descriptor, Repository, digest_of

PLATFORM = ("linux", "amd64")  # the one taken of an image for several
_LIBRARY = re.compile(r"(?:\./)?(?:usr/|usr/local/|opt/[^/]+/)?lib/python(3\.[0-9]+)/os\.pyc?")
_LAYER_TYPES = (LAYER, f"{LAYER}+gzip", f"{LAYER}+zstd")


@dataclass(frozen=True)
class BaseImage:
    """A base image.

    Attributes:
        reference: its name.
        digest: digest, ``sha256:…``, of its manifest.
        config: its configuration.
        layers: its layers, from the lowest to the highest.
        python: minor version of its Python, such as ``3.11``.
    """

    reference: Reference
    digest: str
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    python: str

    @property
    def architecture(self) -> str:
        """The architecture by its OCI name, such as ``amd64``."""
        return str(self.config["architecture"])


def read_base(reference: Reference, repository: Repository) -> BaseImage:
    """Read an image's manifest and configuration.

    Raises:
        SlipwayError: ``SourceNotFound``; ``SourceProtocol`` for documents that cannot be read; ``InvalidInput`` for an image
            without Python or for another platform.
    """
    kind, data = repository.manifest(reference.identifier)
    try:
        if (kind or json.loads(data).get("mediaType")) == INDEX:
            data = repository.manifest(_choose(json.loads(data), reference))[1]
        manifest = json.loads(data)
        config: ImageConfig = json.loads(repository.read(_descriptor(manifest["config"])))
        layers = tuple(_descriptor(layer) for layer in manifest["layers"])
        if len(config["rootfs"]["diff_ids"]) != len(layers) or config["os"] != "linux":
            raise ValueError("its configuration is not that of its layers, or not for Linux")
        for layer in layers:
            if layer.media_type not in _LAYER_TYPES:
                raise ValueError(f"it has a layer of the type {layer.media_type!r}")
        python = _declared_python(config) or _find_python(layers, repository)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SlipwayError(
            Reason.SOURCE_PROTOCOL, f"{reference} cannot be used as a base image: {error}.", hint="Choose another base image."
        ) from None
    if not python:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"No Python was found in {reference}.",
            hint="Use a base image with Python, such as python:3.11-slim-bookworm, or set PYTHON_VERSION in its environment.",
        )
    return BaseImage(reference, digest_of(data), config, layers, python)


def _choose(index: Index, reference: Reference) -> str:
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
        hint="Choose another base image.",
    )


def _descriptor(value: DescriptorJson) -> Descriptor:
    digest, size = value["digest"], value["size"]
    if not re.fullmatch("sha256:[0-9a-f]{64}", digest) or not isinstance(size, int):
        raise ValueError("a digest in its manifest is not a sha256")
    return Descriptor(DOCKER_TYPES.get(value["mediaType"], value["mediaType"]), digest, size)


def _declared_python(config: ImageConfig) -> str:
    variables = dict(entry.split("=", 1) for entry in config.get("config", {}).get("Env") or [] if "=" in entry)
    found = re.match(r"3\.[0-9]+", variables.get("PYTHON_VERSION", ""))
    return found.group() if found else ""


def _find_python(layers: tuple[Descriptor, ...], repository: Repository) -> str:
    """The one version whose library lies in the layers; empty for none and for several."""
    found: set[str] = set()
    for layer in layers:
        if layer.media_type.endswith("zstd"):  # which Python cannot read before 3.14
            return ""
        found |= repository.retry(lambda layer=layer: _pythons(layer, repository))  # type: ignore[misc]
    return found.pop() if len(found) == 1 else ""


def _pythons(layer: Descriptor, repository: Repository) -> set[str]:
    try:
        with tarfile.open(fileobj=_Stream(repository.blob(layer)), mode="r|*") as tar:  # type: ignore[call-overload]
            return {match.group(1) for member in tar if (match := _LIBRARY.fullmatch(member.name))}
    except tarfile.TarError as error:
        raise ValueError(f"its layer {layer.digest[:19]} is not a tar file ({error})") from None


class _Stream:
    """An iterator of chunks as a file to stream from: ``tarfile`` accepts a read of any number of bytes, except none."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _: int) -> bytes:
        return next(self._chunks, b"")
