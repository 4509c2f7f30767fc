"""The bytes that tests store, and how they pass them to a store and get them back."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from steps.core.store import Store

KEY = "files/sha256/ab/model.safetensors"


def some_bytes(size: int) -> bytes:
    return Random(size).randbytes(size)


def in_chunks(data: bytes, size: int = 1_000_003) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def content(store: Store, key: str = KEY) -> bytes:
    return b"".join(store.read(key))
