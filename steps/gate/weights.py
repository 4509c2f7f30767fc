"""Safetensors files, checked by their headers alone: the cost does not depend on the model's size.

The format (https://github.com/huggingface/safetensors#format): 8 bytes little-endian length N, N bytes of JSON mapping
tensor names to ``dtype``, ``shape`` and ``data_offsets``, then the data, which the offsets cover without hole or overlap.
The rules here are the library's own, and stricter where nobody needs the room.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TypeGuard

from steps.core.errors import Reason, SlipwayError
from steps.core.json_reader import MODEL_JSON, InvalidJsonError, check_utf8, members

MAX_HEADER = 32 << 20
MAX_TENSORS = 200_000
MAX_NAME = 1000
MAX_INFO = 10_000  # bytes of JSON about one tensor
METADATA = "__metadata__"
LIMIT = 1 << 63  # for every number and every product: what fits a signed 64-bit integer
# Printable ASCII without spaces: frameworks have names such as ``encoder.layer.*.inv_freq`` and ``blocks[0].weight``.
_NAME = re.compile(r"[!-~]+")
# Bits of an element; the library's names.
DTYPES = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a weight file holds.

    Attributes:
        elements: The number of elements by dtype (the library's names, as ``F32``).
        names: The tensors' names.
        longest: The longest dimension of any tensor.
    """

    elements: dict[str, int]
    names: frozenset[str]
    longest: int = 0

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(count * DTYPES[dtype] for dtype, count in self.elements.items()) // 8


def read_header(path: Path, name: str) -> Header:
    """Check the header of the file at ``path`` and return it. ``name`` is for messages. Raises ``InvalidWeights``."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 10 or not 2 <= length <= min(MAX_HEADER, size - 8):
            raise _bad(name, f"its header of {length} bytes does not fit into {size} bytes or the limit {MAX_HEADER}")
        text = file.read(length)
    if not text.startswith(b"{"):  # the library takes no space before it
        raise _bad(name, "its header is not a JSON object")
    try:
        check_utf8(text)
        return _check_table(name, text, size - 8 - length)
    except (ValueError, RecursionError) as error:
        raise _bad(name, f"its header is not a JSON object of tensors ({error})") from None


def _check_table(name: str, header: bytes, data: int) -> Header:
    """Check the header tensor by tensor: it is never in memory as a whole but as its text."""
    elements: dict[str, int] = {}
    spans: list[tuple[int, int, str]] = []
    names: set[str] = set()
    longest = 0
    for tensor, text in members(header):
        if tensor in names:
            raise _bad(name, f"a name occurs twice: {tensor[:80]!r}")
        names.add(tensor)
        if tensor == METADATA:
            _check_metadata(name, text)
            continue
        if len(spans) == MAX_TENSORS:
            raise _bad(name, f"it has more than {MAX_TENSORS} tensors")
        if not _NAME.fullmatch(tensor) or ".." in tensor.split("/") or len(tensor) > MAX_NAME:
            raise _bad(name, f"it has a tensor named {tensor[:80]!r}")
        if len(text) > MAX_INFO:
            raise _bad(name, f"tensor {tensor!r} has {len(text)} bytes of header")
        dtype, shape, begin, end = _check_tensor(name, tensor, _INFO.decode(text.decode()))
        elements[dtype] = elements.get(dtype, 0) + prod(shape)
        longest = max(longest, *shape, 0)
        spans.append((begin, end, tensor))
    if not spans:
        raise _bad(name, f"it has 0 tensors where 1 to {MAX_TENSORS} are allowed")
    position = 0
    for begin, end, tensor in sorted(spans):
        if begin != position:
            raise _bad(name, f"tensor {tensor!r} begins at byte {begin} of the data, not at {position}")
        position = end
    if position != data:
        raise _bad(name, f"its tensors fill {position} bytes of {data}")
    return Header(elements, frozenset(names - {METADATA}), longest)


def _check_metadata(name: str, text: bytes) -> None:
    if not text.startswith(b"{"):
        raise _bad(name, "its metadata does not map texts to texts")
    seen: set[str] = set()
    for key, value in members(text):
        if not _is_text(key) or not value.startswith(b'"') or not _is_text(json.loads(value)):
            raise _bad(name, "its metadata does not map texts to texts")
        if key in seen:
            raise _bad(name, f"a name occurs twice: {key[:80]!r} in its metadata")
        seen.add(key)


def _check_tensor(name: str, tensor: str, info: object) -> tuple[str, list[int], int, int]:
    if not isinstance(info, dict) or set(info) != {"dtype", "shape", "data_offsets"}:
        raise _bad(name, f"tensor {tensor!r} does not have just dtype, shape and data_offsets")
    dtype, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _bad(name, f"tensor {tensor!r} has the unknown dtype {str(dtype)[:20]!r}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise _bad(name, f"tensor {tensor!r} has a shape or offsets that are not whole numbers")
    # Also where a dimension is 0: the library multiplies the others first, and overflows.
    if prod(max(1, length) for length in shape) >= LIMIT:
        raise _bad(name, f"tensor {tensor!r} has a shape whose product overflows")
    count = prod(shape)
    if (offsets[1] - offsets[0]) * 8 != count * DTYPES[dtype]:
        raise _bad(name, f"tensor {tensor!r} has {count} elements of {dtype} in {offsets[1] - offsets[0]} bytes")
    return dtype, shape, offsets[0], offsets[1]


def check_index(name: str, text: bytes, present: set[str]) -> None:
    """Check a shard index: every tensor's file is one of the names in ``present``, and each of those is used.

    transformers joins these names to the folder unchecked, so they are checked here. ``name`` is the index's path, ``text``
    its bytes. Raises ``InvalidWeights``.
    """
    if len(text) > MODEL_JSON.size:
        raise _bad(name, f"it has {len(text)} bytes, and {MODEL_JSON.size} are allowed")
    try:
        check_utf8(text)
        files = set(_index_files(text))
    except (ValueError, RecursionError) as error:
        raise _bad(name, f"it has no weight_map that can be read ({error})") from None
    for file in sorted(files):
        if file not in present:
            raise _bad(name, f"it names the file {file[:80]!r}, which is not among the shards")
    if unused := sorted(present - files):
        raise _bad(name, f"it does not name the shard {unused[0]}")


def _index_files(text: bytes) -> Iterator[str]:
    """The file names in an index, one for each tensor. A name that stands for two maps is refused: readers differ."""
    maps = [value for key, value in members(text) if key == "weight_map"]
    if len(maps) != 1:
        raise InvalidJsonError(f"there are {len(maps)} of them")
    for _, value in members(maps[0]):
        if not value.startswith(b'"'):
            raise InvalidJsonError(f"a file in it is {value[:80].decode()}")
        yield str(json.loads(value))


def _naturals(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and item < LIMIT for item in value)


def _natural(text: str) -> int:
    if text.startswith("-"):
        raise ValueError("a negative number")  # -0 too, which the library takes for a fraction
    return int(text)


def _is_text(value: object) -> bool:
    """Whether this is a string of Unicode characters; JSON's escapes can make halves of them."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


# Of one tensor's dtype, shape and offsets.
_INFO = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_natural)


def _bad(name: str, why: str) -> SlipwayError:
    return SlipwayError(Reason.INVALID_WEIGHTS, f"{name} is not a valid safetensors file: {why}.")
