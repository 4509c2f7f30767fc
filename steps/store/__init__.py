"""Where big data lives between steps: objects under keys, published whole or not at all.

Steps hand each other keys, never files. A key is a function of digests, so a repeated run finds its work done and two
runs at once write the same bytes. ``local`` keeps objects as files (``file://``), ``gcs`` in a Google Cloud Storage bucket
(``gs://``), ``s3`` in one of Amazon S3 or what speaks like it (``s3://``); all keep the promises of ``Store``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from steps.errors import Reason, SlipwayError

BUCKETS = ("gs://", "s3://")  # how the address of a store in a bucket begins, which every machine can reach

# Every key is made by Slipway; the pattern is a guard against a mistake of ours, not a filter of user input.
KEY = re.compile(r"(?!.*(^|/)\.\.?(/|$))[A-Za-z0-9._@+=-]+(/[A-Za-z0-9._@+=-]+)*")


class Store(Protocol):
    """Objects under keys. All errors are ``SlipwayError``; a missing object is ``StoreUnreadable``."""

    @property
    def uri(self) -> str:
        """The store's own address, as ``open_store`` takes it."""
        ...

    def size(self, key: str) -> int | None:
        """The object's size in bytes, or None where there is none."""
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """The object's bytes, from the first to the last."""
        ...

    def put(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Create the object from a stream, if absent; False when one is there already (the stream is then not read).

        Nothing is visible under the key before the stream has ended; an error inside the stream leaves nothing.
        """
        ...

    def put_file(self, key: str, path: Path) -> bool:
        """As ``put``, from a file that the store may take over: the caller must not change it afterwards."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a small object, at once. For records of runs only; everything else is put once."""
        ...

    def copy_to(self, key: str, path: Path) -> None:
        """Bring the object to a new file, by a link where that costs nothing. The file must not be changed."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """The keys that begin with ``prefix``, sorted."""
        ...

    def locate(self, key: str) -> str:
        """Where a person finds the object: a path, or a URI."""
        ...


def open_store(uri: str) -> Store:
    """The store behind a folder, ``file:///folder``, ``gs://bucket/prefix`` or ``s3://bucket/prefix``; nothing is contacted."""
    if uri.startswith("gs://"):
        from steps.store.gcs import GcsStore

        return GcsStore.from_uri(uri)
    if uri.startswith("s3://"):
        from steps.store.s3 import S3Store

        return S3Store.from_uri(uri)
    from steps.store.local import LocalStore

    if uri.startswith("file://"):
        path = uri.removeprefix("file://")
        if not path.startswith("/"):
            raise SlipwayError(Reason.UNSUPPORTED_STORE, f"{uri!r} names no absolute folder: write file:///folder.")
        return LocalStore(Path(path))
    if "://" in uri or not uri:
        raise SlipwayError(Reason.UNSUPPORTED_STORE, f"No store is known for {uri!r}.")
    return LocalStore(Path(uri).absolute())


def check_key(key: str) -> str:
    if not KEY.fullmatch(key):
        raise SlipwayError(Reason.INTERNAL_ERROR, f"{key!r} is no key that a store accepts.")
    return key


def missing(uri: str) -> SlipwayError:
    return SlipwayError(Reason.STORE_UNREADABLE, f"There is no object at {uri}.", hint="Run the step that makes it.")
