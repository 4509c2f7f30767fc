"""The base image: its manifest for one platform, its configuration, and the version of Python in it.

The packages must be built for the base's own Python. Images made from Docker's official ``python`` name its version
(``PYTHON_VERSION`` in their environment); in others the layers are searched for Python's own library, as a stream, without
unpacking anything.
"""

from __future__ import annotations

import itertools
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from steps.core.chunks import chunk_stream
from steps.core.digest import CHUNK
from steps.core.errors import Reason, SlipwayError
from steps.core.json_reader import read_object
from steps.images.assembly.documents import DescriptorJson, ImageConfig, Index, ManifestJson
from steps.images.registry.reference import Reference
from steps.images.registry.repository import DOCKER_TYPES, INDEX, LAYER, Descriptor, Repository, digest_of
from steps.package.tar_reader import TarReader

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
        if kind == INDEX:
            data = repository.manifest(_choose(cast(Index, _manifest(data)), reference))[1]
        manifest = _manifest(data)
        config = cast(ImageConfig, read_object(repository.read(_descriptor(manifest["config"]))))
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


def _manifest(data: bytes) -> ManifestJson:
    return cast(ManifestJson, read_object(data))


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
        members = TarReader(chunk_stream(_plain(repository.blob(layer))))
        return {match.group(1) for member in members if (match := _LIBRARY.fullmatch(member.name))}
    except (tarfile.TarError, zlib.error) as error:
        raise ValueError(f"its layer {layer.digest[:19]} is not a tar file ({error})") from None


def _plain(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The tar file of a layer, which is compressed by gzip or not; some builders write many members one after the other."""
    first = next(chunks, b"")
    if not first.startswith(b"\x1f\x8b"):
        yield first
        yield from chunks
        return
    member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    for chunk in itertools.chain([first], chunks):
        rest = chunk
        while rest:
            if member.eof:
                member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            yield member.decompress(rest, CHUNK)
            rest = member.unused_data if member.eof else member.unconsumed_tail
