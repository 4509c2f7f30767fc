"""Digests: how bytes, streams and documents get the name they are checked by.

A digest is written as 64 lower-case hex digits of SHA-256 inside Slipway, and with the ``sha256:`` prefix of OCI where it
leaves (reports, labels, ``status``). Documents are hashed over one canonical JSON text, so equal content has one name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from steps.core.errors import Reason, SlipwayError

CHUNK = 1 << 20  # bytes per read: large enough that Python's cost per call vanishes beside hashing
SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """One text for equal values: sorted keys, no spaces, UTF-8, a newline at the end; NaN and infinities are refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def read_chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes in chunks of at most ``CHUNK``."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def verified_chunks(chunks: Iterable[bytes], *, sha256: str, size: int, what: str) -> Iterator[bytes]:
    """Pass ``chunks`` through and raise ``DigestMismatch`` at their end unless they have this size and digest.

    The error comes before the consumer sees the end of the stream, so a store that publishes at the end publishes
    nothing wrong.
    """
    digest = hashlib.sha256()
    seen = 0
    for chunk in chunks:
        digest.update(chunk)
        seen += len(chunk)
        if seen > size:
            raise SlipwayError(Reason.DIGEST_MISMATCH, f"{what} has more than the {size} bytes that were promised.")
        yield chunk
    if seen != size:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{what} has {seen} bytes where {size} were promised.")
    if digest.hexdigest() != sha256:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{what} has sha256 {digest.hexdigest()} where {sha256} was promised.")
