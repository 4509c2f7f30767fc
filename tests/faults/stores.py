"""What a local store may hold at any moment, whatever happened to whoever wrote to it."""

from __future__ import annotations

import json
from pathlib import Path

from steps.core.digest import sha256_file
from steps.core.receipts import parse_receipt

NAMED_BY_DIGEST = ("blobs/sha256/", "locks/", "facts/", "renders/", "plans/", "smokes/")
UNFINISHED = "tmp/"


def contents(store: Path) -> dict[str, str]:
    """The SHA-256 of every finished object, by its key."""
    return {
        key: sha256_file(path)
        for path in sorted(store.rglob("*"))
        if path.is_file() and not (key := path.relative_to(store).as_posix()).startswith(UNFINISHED)
    }


def half_written(store: Path) -> list[str]:
    """Keys of objects that are not what their names say, and of receipts and records that are not whole."""
    found = []
    for key, sha256 in contents(store).items():
        path = store / key
        if key.startswith(NAMED_BY_DIGEST):
            found += [] if path.stem == sha256 else [key]
        elif key.startswith(("receipts/", "runs/")) and path.suffix == ".json":
            found += [] if parse_receipt(path.read_bytes()) else [key]
        elif path.suffix == ".json":
            try:
                json.loads(path.read_bytes())
            except ValueError:
                found.append(key)
    return found


def unfinished(store: Path) -> list[str]:
    """What is left of unfinished work but for partial downloads, which the next run continues."""
    folder = store / UNFINISHED
    return sorted(path.name for path in folder.iterdir() if path.name != "partial") if folder.is_dir() else []
