"""gzip members (RFC 1952) written as streams, with bytes that do not depend on the machine's compression library.

zlib, zlib-ng and isal compress the same bytes differently, and so do their releases; which of them a Python uses is not ours
to choose. So a member here either holds *stored* deflate blocks (RFC 1951), which no library makes, or is made by libdeflate as
the package ``deflate`` bundles it: its output depends on its version alone, which ``pyproject.toml`` names exactly.

Archives are stored: nearly all of their bytes are weights, on which compression is wasted (8 % of fp16 at 50 ms a megabyte).
Layers of images that hold programs are compressed, to a third.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

STORED_MAX = 65535  # bytes of a stored block, by RFC 1951
PIECE = 1 << 20  # bytes that are compressed together: the memory this takes, and under 1 % of the size
LEVEL = 6  # of compression: higher ones take three times the time for 1 %
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no flags, no time, unknown system


def stored_gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """One gzip member with these chunks one after the other, not compressed.

    How the bytes are cut into chunks leaves no trace. The member has no file name, time or system.
    """
    yield _HEADER
    checksum = size = 0
    rest = b""
    for chunk in chunks:
        checksum = zlib.crc32(chunk, checksum)
        size += len(chunk)
        view = memoryview(rest + chunk)
        whole = len(view) - len(view) % STORED_MAX
        for begin in range(0, whole, STORED_MAX):
            yield from _stored_block(view[begin : begin + STORED_MAX])
        rest = bytes(view[whole:])
    if rest:
        yield from _stored_block(memoryview(rest))
    yield b"\x01\x00\x00\xff\xff"  # a last stored block, empty
    yield struct.pack("<II", checksum, size & 0xFFFFFFFF)


def compressed_gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """These chunks one after the other, compressed: a gzip member for each ``PIECE`` of them.

    Several members in a row are one gzip file (RFC 1952, section 2.2), which all readers of image layers take. How the bytes
    are cut into chunks leaves no trace.
    """
    from deflate import gzip_compress

    piece = bytearray()
    empty = True
    for chunk in chunks:
        piece += chunk
        while len(piece) >= PIECE:
            yield bytes(gzip_compress(bytes(piece[:PIECE]), LEVEL))
            del piece[:PIECE]
            empty = False
    if piece or empty:
        yield bytes(gzip_compress(bytes(piece), LEVEL))


def _stored_block(part: memoryview) -> Iterator[bytes]:
    yield struct.pack("<BHH", 0, len(part), len(part) ^ 0xFFFF)
    yield bytes(part)
