"""The stores that there are, by the scheme of their address: the one place where a store is added.

``local`` keeps objects as files (``file://``), ``gcs`` in a Google Cloud Storage bucket (``gs://``), ``s3`` in one of Amazon
S3 or what speaks like it (``s3://``).
"""

from __future__ import annotations

from pathlib import Path

from steps.core.errors import Reason, SlipwayError
from steps.core.store import Store
from steps.store.bucket import Prefix
from steps.store.gcs import GcsPrefix, GcsStore
from steps.store.local import LocalStore
from steps.store.s3 import S3Prefix, S3Store

BUCKETS = ("gs://", "s3://")  # how the address of a store in a bucket begins, which every machine can reach


def open_store(uri: str) -> Store:
    """The store behind a folder, ``file:///folder``, ``gs://bucket/prefix`` or ``s3://bucket/prefix``; nothing is contacted."""
    if uri.startswith("gs://"):
        return GcsStore.from_uri(uri)
    if uri.startswith("s3://"):
        return S3Store.from_uri(uri)
    if uri.startswith("file://"):
        path = uri.removeprefix("file://")
        if not path.startswith("/"):
            raise SlipwayError(Reason.UNSUPPORTED_STORE, f"{uri!r} names no absolute folder: write file:///folder.")
        return LocalStore(Path(path))
    if "://" in uri or not uri:
        raise SlipwayError(Reason.UNSUPPORTED_STORE, f"No store is known for {uri!r}.")
    return LocalStore(Path(uri).absolute())


def open_prefix(uri: str) -> Prefix:
    """What lies under ``gs://bucket/prefix`` or ``s3://bucket/prefix``. Nothing is contacted yet."""
    if uri.startswith("s3://"):
        return S3Prefix.from_uri(uri)
    return GcsPrefix.from_uri(uri)
