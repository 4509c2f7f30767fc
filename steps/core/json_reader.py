"""The one reader of JSON (RFC 8259) that comes from outside: its size is known before anything is built from it.

Three bytes of JSON can cost a hundred bytes of memory, so a limit in bytes alone is either no limit or refuses real models: the
tokenizers of today are 35 MB of JSON with two million values. ``read_json`` counts the structure first, by searches that run at
the speed of memory, works out what Python's objects would take, and parses only what fits. ``scan_json`` checks the syntax of
texts that nobody needs as objects, and ``members`` takes an object apart member by member; neither holds more than the text.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from pydantic import BaseModel

ModelT = TypeVar("ModelT", bound=BaseModel)
_MIB = 1 << 20


@dataclass(frozen=True)
class JsonLimits:
    """How much one kind of document may be.

    Attributes:
        size: Bytes of the text.
        memory: Bytes that the text and what is parsed from it may take together, by the estimate of ``parsed_size``.
        values: Objects, arrays and scalars, names of members included, in a text that is only scanned.
        depth: Objects and arrays within each other.
        finite: Whether NaN and infinities are refused, which Python writes and RFC 8259 does not know.
    """

    size: int
    memory: int = 160 * _MIB
    values: int = 6_000_000
    depth: int = 100
    finite: bool = True


# The configuration, vocabulary or index of a model: an index of 150 000 tensors, a vocabulary of 500 000 words. Python
# writes infinity into some configurations (Mamba2's time_step_limit).
MODEL_JSON = JsonLimits(64 * _MIB, finite=False)
# tokenizer.json, which is only scanned. The largest that is known, of XLM-V, has 61 MB and 2.7 million values.
TOKENIZER_JSON = JsonLimits(128 * _MIB, finite=False)
# An answer of a server, a document of the store, a file of this machine.
ANSWER = JsonLimits(16 * _MIB)
DOCUMENT = JsonLimits(64 * _MIB)

# What Python's objects take, in bytes, with their place in a list or dict: an empty list or dict and its first entry, and a
# short string or a number. The characters of strings are counted apart.
_OBJECT, _ARRAY, _SCALAR = 200, 96, 72

_SPACE = rb"[ \t\n\r]*+"
_STRING = rb'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+"'
_NUMBER = rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
_NAME = _STRING + _SPACE + rb":" + _SPACE
_SCALARS = rb"(?>" + _STRING + rb"|" + _NUMBER + rb"|true|false|null|NaN|-?Infinity)"
_COMMA = _SPACE + rb"," + _SPACE


def _list(item: bytes) -> bytes:
    return rb"(?:" + item + rb"(?:" + _COMMA + item + rb")*+" + _SPACE + rb")?+"


# Whole runs of a container's simple items are matched by one call: scalars, and containers of nothing but scalars.
_FLAT = rb"(?>\[" + _SPACE + _list(_SCALARS) + rb"\]|\{" + _SPACE + _list(_NAME + _SCALARS) + rb"\})"
_ITEM_TEXT = rb"(?>" + _SCALARS + rb"|" + _FLAT + rb")"
_ITEM = re.compile(_ITEM_TEXT)
_MEMBERS = re.compile(rb"(?:" + _NAME + _ITEM_TEXT + _COMMA + rb")*+")
_ITEMS = re.compile(rb"(?:" + _ITEM_TEXT + _COMMA + rb")*+")
_MEMBER_NAME = re.compile(rb"(" + _STRING + rb")" + _SPACE + rb":" + _SPACE)
_ANY_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_SOME_STRINGS = re.compile(rb'(?:[^"]*+"(?:[^"\\]++|\\.)*+"){1,10000}+', re.DOTALL)
_GAP = re.compile(_SPACE)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class InvalidJsonError(ValueError):
    """What is not JSON, or not the JSON that was expected; the text says what is wrong, as ``it …`` or ``at byte …``."""


class JsonTooLargeError(InvalidJsonError):
    """JSON beyond the limits of its kind."""


def read_json(
    data: bytes, limits: JsonLimits = ANSWER, *, pairs: Callable[[list[tuple[str, object]]], object] | None = None
) -> object:
    """Parse a text in UTF-8 and return dicts, lists, strings, numbers, booleans and None.

    Args:
        data: The text.
        limits: How much it may be.
        pairs: Makes the value of each object from its members, to see names that occur twice; a dict where it is None.

    Raises:
        InvalidJsonError: What is not JSON, or nested too deeply; ``JsonTooLargeError`` beyond the limits.
    """
    _check_size(data, limits)
    if (needed := parsed_size(data)) > limits.memory:
        raise JsonTooLargeError(f"it would take about {needed} bytes of memory, and {limits.memory} are allowed")
    _check_depth(data, limits)
    try:
        # Decoded here, because json.loads would take UTF-16 too.
        return json.loads(data.decode(), object_pairs_hook=pairs, parse_constant=_refuse_constant if limits.finite else None)
    except (ValueError, RecursionError) as error:
        raise InvalidJsonError(str(error)) from None


def read_object(data: bytes, limits: JsonLimits = ANSWER) -> dict[str, object]:
    """Parse a text that is one JSON object. Raises as ``read_json`` does, and ``InvalidJsonError`` for any other value."""
    value = read_json(data, limits)
    if not isinstance(value, dict):
        raise InvalidJsonError("it is not a JSON object")
    return value


def read_model(data: bytes, model: type[ModelT], limits: JsonLimits = DOCUMENT) -> ModelT:
    """Parse a text as a pydantic model. Raises ``InvalidJsonError``, and ``ValidationError`` for what does not fit it."""
    return model.model_validate(read_json(data, limits))


def parsed_size(data: bytes) -> int:
    """About how many bytes the text takes with all that ``read_json`` makes of it, and never much less than it does."""
    text, strings = _widths(data)
    objects, arrays, scalars = _structure(data)
    return len(data) * (1 + text + strings) + objects * _OBJECT + arrays * _ARRAY + scalars * _SCALAR


def scan_json(data: bytes, limits: JsonLimits) -> None:
    """Check that the text is JSON within limits, without building anything. Raises as ``read_json`` does."""
    _check_size(data, limits)
    if (values := count_values(data)) > limits.values:
        raise JsonTooLargeError(f"it has {values} values and names, and {limits.values} are allowed")
    check_utf8(data)
    end = _end_of_value(data, _gap(data, 0), limits.depth)
    if _gap(data, end) != len(data):
        raise InvalidJsonError(f"at byte {end}: something follows the end of the value")


def members(data: bytes, *, depth: int = 100) -> Iterator[tuple[str, bytes]]:
    """The members of the object that a text holds, in their order: the name, and the text of the value.

    Names may repeat. Raises ``InvalidJsonError`` once it comes to what is not JSON. UTF-8 is checked in names only.
    """
    position = _gap(data, 0)
    if data[position : position + 1] != b"{":
        raise InvalidJsonError("it is not a JSON object")
    position = _gap(data, position + 1)
    if data[position : position + 1] != b"}":
        while True:
            name = _MEMBER_NAME.match(data, position)
            if name is None:
                _fail(position)
            end = _end_of_value(data, name.end(), depth)
            yield _string(name[1]), data[name.end() : end]
            position = _gap(data, end)
            if data[position : position + 1] != b",":
                break
            position = _gap(data, position + 1)
    if data[position : position + 1] != b"}" or _gap(data, position + 1) != len(data):
        _fail(position)


def count_values(data: bytes) -> int:
    """How many objects, arrays, scalars and names a JSON text has at most: as many as commas, colons and open brackets."""
    return sum(_structure(data))


def check_utf8(data: bytes) -> None:
    """Raise ``InvalidJsonError`` for what is not UTF-8; only a piece of the text is decoded at a time."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for begin in range(0, len(data), _MIB):
            decoder.decode(data[begin : begin + _MIB], final=begin + _MIB >= len(data))
    except UnicodeDecodeError as error:
        raise InvalidJsonError(f"it is not UTF-8: {error.reason}") from None


def _check_size(data: bytes, limits: JsonLimits) -> None:
    if len(data) > limits.size:
        raise JsonTooLargeError(f"it has {len(data)} bytes, and {limits.size} are allowed")


def _check_depth(data: bytes, limits: JsonLimits) -> None:
    if data.count(b"[") + data.count(b"{") <= limits.depth:
        return
    depth = 0
    for piece in _without_strings(data):
        for bracket in piece.translate(None, _NOT_BRACKETS):
            depth += 1 if bracket in b"[{" else -1
            if depth > limits.depth:
                raise InvalidJsonError(f"it is nested more than {limits.depth} levels deep")


def _widths(data: bytes) -> tuple[int, int]:
    """Bytes of a character in the decoded text, and at most in a string of it, where escapes are characters (PEP 393)."""
    if re.search(rb"[\xf0-\xff]", data):
        return 4, 4
    text = 1 if data.isascii() or not re.search(rb"[\xc4-\xef]", data) else 2
    return text, 4 if b"\\u" in data else text


def _structure(data: bytes) -> tuple[int, int, int]:
    """The numbers of brackets of objects and of arrays, and of commas and colons and one, all outside of strings."""
    objects = arrays = scalars = 0
    for piece in _without_strings(data):
        objects, arrays = objects + piece.count(b"{"), arrays + piece.count(b"[")
        scalars += piece.count(b",") + piece.count(b":")
    return objects, arrays, scalars + 1


def _without_strings(data: bytes) -> Iterator[bytes]:
    """The text in pieces, each without its strings: in pieces, because a replacement holds all that lies between matches."""
    position = 0
    while some := _SOME_STRINGS.match(data, position):
        yield _ANY_STRING.sub(b"", data[position : some.end()])
        position = some.end()
    yield _ANY_STRING.sub(b"", data[position:])


def _end_of_value(data: bytes, position: int, limit: int) -> int:
    """Where the value that begins at ``position`` ends. The containers that it is inside of are kept, and nothing else."""
    inside: list[bytes] = []  # the brackets that end them
    while True:
        if item := _ITEM.match(data, position):
            position = item.end()
        else:
            if (bracket := data[position : position + 1]) not in (b"{", b"["):
                _fail(position)
            if len(inside) == limit - 1:  # it holds a container, or else it would have been an item
                raise InvalidJsonError(f"it is nested more than {limit} levels deep")
            inside.append(b"}" if bracket == b"{" else b"]")
            position = _next_value(data, _gap(data, position + 1), inside[-1])
            continue
        while inside:
            position = _gap(data, position)
            mark = data[position : position + 1]
            if mark == b",":
                position = _next_value(data, _gap(data, position + 1), inside[-1])
                break
            if mark != inside[-1]:
                _fail(position)
            inside.pop()
            position += 1
        else:
            return position


def _next_value(data: bytes, position: int, closing: bytes) -> int:
    """Pass the simple items from ``position`` on, and give the place of the value behind them."""
    run = (_MEMBERS if closing == b"}" else _ITEMS).match(data, position)
    assert run is not None, "it may be empty"
    if closing == b"]":
        return run.end()
    name = _MEMBER_NAME.match(data, run.end())
    return name.end() if name else _fail(run.end())


def _gap(data: bytes, position: int) -> int:
    gap = _GAP.match(data, position)
    return gap.end() if gap else position


def _string(text: bytes) -> str:
    try:
        return str(json.loads(text)) if b"\\" in text else text[1:-1].decode()
    except UnicodeDecodeError:
        raise InvalidJsonError("a name in it is not UTF-8") from None


def _fail(position: int) -> NoReturn:
    raise InvalidJsonError(f"it is not JSON at byte {position}")


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJsonError(f"{name} is no number of JSON")
