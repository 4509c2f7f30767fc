"""The checksums of S3: which ones an object has, how they are computed, and how headers write them.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from steps.store.s3_client import HeadObject

UNKNOWN = ""  # the algorithm of an object whose checksum has not been requested: a listing does not name it
NONE = "none"


def full_object_checksum(head: HeadObject) -> tuple[str, str]:
    """Return the checksum of the whole object from its metadata, in base64, and its algorithm; ``NONE`` where none is known."""
    if head.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT":
        values = (
            ("crc32c", head.get("ChecksumCRC32C")),
            ("crc32", head.get("ChecksumCRC32")),
            ("crc64nvme", head.get("ChecksumCRC64NVME")),
        )
        for algorithm, value in values:
            if value and "-" not in value:  # a dash and a number: over the parts' checksums
                return value, algorithm
    return "", NONE


def algorithm(name: str) -> tuple[Callable[[bytes, int], int], int]:
    """Return the function that adds bytes to a checksum, and its length in bytes: 0 where there is no checksum."""
    from awscrt import checksums

    known = {"crc32c": (checksums.crc32c, 4), "crc32": (checksums.crc32, 4), "crc64nvme": (checksums.crc64nvme, 8)}
    return known.get(name, (lambda part, crc: crc, 0))


def checksum_text(value: int, length: int = 4) -> str:
    """Write a checksum as headers do: base64 of its ``length`` bytes, the highest first."""
    return base64.b64encode(value.to_bytes(length, "big")).decode()
