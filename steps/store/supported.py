"""The table of stores by the scheme of their address: the one place where a store is added.

Help texts, hints, the CRD's rule for ``source``, the environment of the load step and the doctor are made from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from steps.core.errors import Reason, SlipwayError
from steps.core.redaction import BUCKET_CREDENTIALS, find_secret, redact_address
from steps.store.base import StoreBackend
from steps.store.bucket import BucketPrefix, BucketStore
from steps.store.gcs import GcsStore
from steps.store.local import LocalStore
from steps.store.s3 import S3Store

STORES: tuple[type[StoreBackend], ...] = (LocalStore, GcsStore, S3Store)


def open_store(uri: str) -> StoreBackend:
    """Open the store at an address of ``STORES``, or in the folder of that path. Nothing is contacted.

    Raises:
        SlipwayError: ``UnsupportedStore`` where there is no such store, or its address is malformed or has a place for secrets.
    """
    _require_no_secret(uri)
    if found := find_store(uri):
        return found.from_uri(uri)
    # Mistyped, these would be folders of strange names: s3:/bucket/x, gs:x, and ~ where no shell has replaced it.
    mistyped = any(uri.lower().startswith(f"{each.scheme}:") for each in STORES)
    if "://" in uri or mistyped or not uri or "\0" in uri:
        raise SlipwayError(Reason.UNSUPPORTED_STORE, f"There is no store for {uri!r}.", hint=f"Use {addresses()}.")
    if uri.startswith("~"):
        raise SlipwayError(
            Reason.UNSUPPORTED_STORE,
            f"{uri!r} begins with ~, which only a shell replaces by a home folder.",
            hint="Write the whole path, or ./~ for a folder of that name.",
        )
    return LocalStore(Path(uri).absolute())


def open_prefix(uri: str) -> BucketPrefix:
    """Open what lies under the address of a bucket and a prefix. Nothing is contacted.

    Raises:
        SlipwayError: ``UnsupportedStore`` where it is not the address of a bucket, or has a place for secrets.
    """
    _require_no_secret(uri)
    found = find_store(uri)
    if found is None or not issubclass(found, BucketStore):
        raise SlipwayError(Reason.UNSUPPORTED_STORE, f"{uri!r} is not in a bucket.", hint=f"Use {bucket_addresses()}.")
    prefix = found.open_prefix(uri)
    assert isinstance(prefix, BucketPrefix)
    return prefix


def find_store(uri: str) -> type[StoreBackend] | None:
    """Return the class of the stores with this address's scheme; None for a plain path and for an unknown scheme."""
    return next((each for each in STORES if uri.startswith(f"{each.scheme}://")), None)


def is_shared(uri: str) -> bool:
    """Whether the address means the same objects on every machine: that of a bucket, not of a folder."""
    found = find_store(uri)
    return found is not None and found.shared


def is_bucket(uri: str) -> bool:
    """Whether ``open_prefix`` takes the address."""
    found = find_store(uri)
    return found is not None and issubclass(found, BucketStore)


def addresses() -> str:
    """Return the addresses of all stores in words: ``a folder, file:///folder, … or …``."""
    return _alternatives(["a folder", *(each.example for each in STORES)])


def bucket_addresses() -> str:
    """Return the addresses of the stores that every machine reaches, in words."""
    return _alternatives([each.example for each in STORES if each.shared])


def store_variables(uri: str) -> tuple[str, ...]:
    """Return the patterns of the environment variables that the client library of the store at ``uri`` reads."""
    found = find_store(uri)
    return found.environment if found else ()


def _require_no_secret(uri: str) -> None:
    if what := find_secret(uri):
        text = f"The store's address {redact_address(uri)} has {what}."
        raise SlipwayError(Reason.UNSUPPORTED_STORE, text, hint=f"Use {addresses()}. {BUCKET_CREDENTIALS}")


def _alternatives(texts: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    return " or ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
