"""Texts and bytes that are nearly right: a sound example, changed in some places as accidents and attackers change things."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

PIECES = (
    *(
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\r\n",
        b" ",
        b'"',
        b"'",
        b"\\",
        b"/",
        b"..",
        b"%00",
        b"%2e%2e",
        b"@",
        b"?",
    ),
    *(b"{", b"}", b"[", b"]", b"null", b"true", b"NaN", b"-1", b"0", b"1e999", b"9" * 25, b"9" * 5000, b"-9223372036854775809"),
    *(
        b"{{=1+1}}",
        b"[" * 3000,
        b'{"a":' * 500,
        b"A" * 20_000,
        b"\x1b[2J",
        "\u202e".encode(),
        "模".encode(),
        b"&a [*a]",
        b"!!x",
    ),
)


def mutations(examples: tuple[bytes, ...], count: int, seed: int) -> Iterator[bytes]:
    """Yield ``count`` changed examples; equal arguments give equal ones."""
    chance = random.Random(seed)
    for _ in range(count):
        data = chance.choice(examples)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            data = chance.choice(CHANGES)(data, chance)
        yield data


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randint(0, len(data))]


def _flip(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _remove(data: bytes, chance: random.Random) -> bytes:
    begin = chance.randint(0, len(data))
    return data[:begin] + data[begin + chance.choice((1, 2, 8, 100)) :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(PIECES) + data[at:]


def _replace(data: bytes, chance: random.Random) -> bytes:
    piece, at = chance.choice(PIECES), chance.randint(0, len(data))
    return data[:at] + piece + data[at + chance.randint(0, len(piece)) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    begin = chance.randint(0, len(data))
    part = data[begin : begin + chance.choice((1, 10, 100))]
    return data[:begin] + part * chance.choice((2, 3, 50)) + data[begin:]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut,
    _flip,
    _flip,
    _remove,
    _insert,
    _insert,
    _replace,
    _repeat,
)
