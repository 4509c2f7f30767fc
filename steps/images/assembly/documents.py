"""The JSON documents of an image as they are read and written here, with the fields that Slipway uses.

https://github.com/opencontainers/image-spec/blob/main/config.md and manifest.md, descriptor.md, image-index.md beside it.
Documents from a registry are hostile until read: a field may be missing or of another type, whatever stands here.
"""

from __future__ import annotations

from typing import TypedDict


class RunConfig(TypedDict, total=False):
    """How a container of the image starts: the field ``config`` of the configuration."""

    Cmd: list[str]
    Entrypoint: list[str]
    Env: list[str]  # NAME=VALUE
    ExposedPorts: dict[str, dict[str, str]]
    Labels: dict[str, str]
    StopSignal: str
    User: str
    Volumes: dict[str, dict[str, str]]
    WorkingDir: str


class RootFs(TypedDict):
    """The layers by the digests of their tar files before compression, from the lowest to the highest."""

    type: str
    diff_ids: list[str]


class HistoryEntry(TypedDict, total=False):
    """How a layer was made; with ``empty_layer`` no layer was."""

    created: str
    created_by: str
    empty_layer: bool


class ImageConfig(TypedDict, total=False):
    """An image's configuration."""

    architecture: str
    os: str
    variant: str
    created: str
    config: RunConfig
    rootfs: RootFs
    history: list[HistoryEntry]


class DescriptorJson(TypedDict):
    """A blob or manifest by its digest."""

    mediaType: str
    digest: str
    size: int


class ManifestJson(TypedDict, total=False):
    """A manifest as it is read: of an image, or an index."""

    mediaType: str
    config: DescriptorJson
    layers: list[DescriptorJson]


class Platform(TypedDict, total=False):
    """What an image of an index runs on."""

    os: str
    architecture: str


class IndexEntry(TypedDict, total=False):
    """An image of an index."""

    digest: str
    platform: Platform


class Index(TypedDict):
    """The images of one name, for several platforms."""

    manifests: list[IndexEntry]
