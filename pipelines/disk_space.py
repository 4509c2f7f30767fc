"""Whether the disks of this machine can hold what a run makes of a model, told before the first byte of its weights.

What a run keeps: in the store, one copy of the model, and for each service an archive and a build context, each with all the
weights. What it needs for a while: the unpacked archive of the service that is tested, and with a store elsewhere a copy of the
model that is loaded. An image program keeps layers in a place of its own. Needs on one file system are added up.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps.core.errors import Reason, SlipwayError
from steps.core.store import Store
from steps.core.text import format_bytes, join_words
from steps.images.builders.base import Builder
from steps.store.base import StoreBackend


@dataclass(frozen=True)
class Need:
    """``size`` bytes in ``folder``, which need not exist yet, for ``purpose``, a noun."""

    folder: Path
    size: int
    purpose: str


@dataclass(frozen=True)
class Disk:
    """A file system: what is needed on it, and how many bytes are free."""

    folder: Path
    needs: tuple[Need, ...]
    free: int

    @property
    def size(self) -> int:
        """All that is needed, in bytes."""
        return sum(need.size for need in self.needs)

    def __str__(self) -> str:
        parts = join_words([f"{format_bytes(need.size)} for {need.purpose}" for need in self.needs])
        needed = f"{format_bytes(self.size)} are needed on the disk of {self.folder} ({parts})"
        return f"{needed}, and {format_bytes(self.free)} are free"


def disks(
    files: Sequence[tuple[str, int]], store: StoreBackend, scratch: Path, services: int, builder: type[Builder]
) -> list[Disk]:
    """Add up what a run needs.

    Args:
        files: For each file of the model its key in the store, empty where that is not known yet, and its size in bytes.
        store: Where results go.
        scratch: The folder for unfinished work.
        services: The number of services.
        builder: What makes the images.
    """
    found: dict[int, list[Need]] = {}
    for need in _needs(files, store, scratch, services, builder):
        if need.size:
            found.setdefault(os.stat(_existing(need.folder)).st_dev, []).append(need)
    return [Disk(needs[0].folder, tuple(needs), shutil.disk_usage(_existing(needs[0].folder)).free) for needs in found.values()]


def require_space(found: Sequence[Disk]) -> None:
    """Raise ``DiskFull`` with the numbers, unless each disk can hold what is needed on it."""
    short = [disk for disk in found if disk.size > disk.free]
    if short:
        raise SlipwayError(
            Reason.DISK_FULL,
            " ".join(f"{disk}." for disk in short),
            hint="Free the space, name a store on another disk or in a bucket (--store), or serve fewer tasks at once.",
        )


def _needs(
    files: Sequence[tuple[str, int]], store: StoreBackend, scratch: Path, services: int, builder: type[Builder]
) -> Iterator[Need]:
    size = sum(size for _, size in files)
    many = f"{services} services" if services > 1 else "the service"
    if store.scratch is not None:  # a folder of this machine
        root = store.scratch.parent
        yield Need(root, size - _held(files, store), "the model")
        yield Need(root, services * size, f"what is archived of {many}")
        yield Need(root, services * size, f"what an image is built of, for {many}")
        yield Need(scratch, size, "a package while it is tested")
    else:
        yield Need(scratch, size, "the model or a package, while it is used")
    if place := builder.image_storage():
        yield Need(place, 2 * size, f"the layers that {builder.name} builds")


def _held(files: Sequence[tuple[str, int]], store: Store) -> int:
    """The bytes of the model that the store has."""
    return sum(size for key, size in files if key and store.size(key) == size)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())
