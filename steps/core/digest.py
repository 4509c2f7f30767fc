"""Digests: how bytes, streams and documents are named and checked.

A digest is written as 64 lower-case hex digits of SHA-256 inside Slipway, and with the ``sha256:`` prefix of OCI in what
others read (reports, labels, ``status``). Documents are hashed over one canonical JSON text, so equal content has one name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from steps.core.errors import Reason, SlipwayError

CHUNK = 1 << 20  # bytes per read: large enough that the cost of a call is small beside that of hashing
SHA256 = re.compile(r"[0-9a-f]{64}")


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of these bytes as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 lower-case hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> bytes:
    """Write a value as JSON so that equal values give equal bytes.

    Keys are sorted, there are no spaces, the text is UTF-8 and ends with a newline. Raises ``ValueError`` for NaN and
    infinities, which JSON (RFC 8259) does not have.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes in chunks of at most ``CHUNK`` bytes."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def verified_chunks(chunks: Iterable[bytes], *, sha256: str, size: int, what: str) -> Iterator[bytes]:
    """Pass ``chunks`` through and check their size in bytes and their SHA-256.

    ``what`` names the object in the message. Raises ``DigestMismatch`` as soon as there are too many bytes, else before the
    consumer sees the end of the stream: a store that publishes at the end publishes nothing wrong.
    """
    digest = hashlib.sha256()
    seen = 0
    for chunk in chunks:
        digest.update(chunk)
        seen += len(chunk)
        if seen > size:
            raise SlipwayError(Reason.DIGEST_MISMATCH, f"{what} has more than the {size} bytes that were expected.")
        yield chunk
    if seen != size:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{what} has {seen} bytes where {size} were expected.")
    if digest.hexdigest() != sha256:
        raise SlipwayError(Reason.DIGEST_MISMATCH, f"{what} has sha256 {digest.hexdigest()} where {sha256} was expected.")
