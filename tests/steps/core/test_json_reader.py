"""JSON from outside: what is read, what is refused, and what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.json_reader import (
    ANSWER,
    MODEL_JSON,
    TOKENIZER_JSON,
    InvalidJsonError,
    JsonLimits,
    JsonTooLargeError,
    count_values,
    members,
    parsed_size,
    read_json,
    scan_json,
)

MIB = 1 << 20
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
texts = st.builds(lambda value, indent, ascii: json.dumps(value, indent=indent, ensure_ascii=ascii).encode(), values,
                  st.sampled_from([None, 1]), st.booleans())  # fmt: skip


def scanned(text: bytes) -> bool:
    try:
        scan_json(text, TOKENIZER_JSON)
    except InvalidJsonError:
        return False
    return True


def parsed(text: bytes) -> bool:
    try:
        json.loads(text.decode())
    except (ValueError, RecursionError):
        return False
    return True


@given(texts)
def test_whatever_is_json_is_read(text: bytes) -> None:
    scan_json(text, TOKENIZER_JSON)
    assert read_json(text) == json.loads(text)


@given(texts, st.data())
def test_a_damaged_text_is_judged_as_python_does(text: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    damaged = (
        text[:at]
        + data.draw(st.sampled_from([b"", b"[", b"}", b",", b":", b'"', b"\\", b"0", b"\n", b"\xff"]))
        + text[at + 1 :]
    )
    assert scanned(damaged) == parsed(damaged)


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_members_are_those_of_the_object(value: dict[str, object]) -> None:
    text = json.dumps(value, indent=1).encode()
    assert {name: json.loads(member) for name, member in members(text)} == value


@pytest.mark.parametrize(
    "text", [b"", b"[1,]", b'{"a":1,}', b"[1 2]", b'{"a"}', b"[01]", b"[1]]", b'"a', b'"\n"', b"[.5]", b'{"a":[1}', b"[}", b","]
)
@pytest.mark.fault("refused")
def test_what_is_not_json_is_refused(text: bytes) -> None:
    for read in (read_json, lambda text: scan_json(text, TOKENIZER_JSON)):
        with pytest.raises(InvalidJsonError):
            read(text)
    with pytest.raises(InvalidJsonError):
        list(members(text))


@pytest.mark.parametrize("text", [b'{"a":1}x', b'{"a":1', b'{"a":1,"b"}', b'{"\xff":1}', b'{"a":[[1],}'])
def test_members_of_no_object_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidJsonError):
        list(members(text))


@pytest.mark.fault("refused")
@pytest.mark.parametrize("text", [b"[" * 101 + b"]" * 101, b'{"a":' * 101 + b"1" + b"}" * 101, b"[" * 200_000])
def test_deep_nesting_is_refused_before_parsing(text: bytes) -> None:
    for read in (read_json, lambda text: scan_json(text, TOKENIZER_JSON)):
        with pytest.raises(InvalidJsonError, match="nested more than 100 levels"):
            read(text)


def test_brackets_in_strings_are_no_nesting() -> None:
    text = json.dumps({"template": '{["\\' * 5000}).encode()
    assert read_json(text) == json.loads(text)
    assert count_values(text) == 3


def test_only_models_may_write_infinity() -> None:
    text = b'{"time_step_limit": [0.0, Infinity]}'
    assert read_json(text, MODEL_JSON) == {"time_step_limit": [0.0, float("inf")]}
    with pytest.raises(InvalidJsonError, match="Infinity is no number of JSON"):
        read_json(text, ANSWER)


def test_each_limit_is_named() -> None:
    with pytest.raises(JsonTooLargeError, match="it has 9 bytes, and 8 are allowed"):
        read_json(b"[1,2,3,4]", JsonLimits(size=8))
    with pytest.raises(JsonTooLargeError, match="bytes of memory, and 100 are allowed"):
        read_json(b"[1,2,3,4]", JsonLimits(size=9, memory=100))
    with pytest.raises(JsonTooLargeError, match="it has 5 values and names, and 4 are allowed"):
        scan_json(b"[1,2,3,4]", JsonLimits(size=9, values=4))


PEAK = r"""
import re, sys
from steps.core.json_reader import MODEL_JSON, TOKENIZER_JSON, InvalidJsonError, read_json, scan_json
data = open(sys.argv[1], "rb").read()
try:
    {"read": lambda: read_json(data, MODEL_JSON), "scan": lambda: scan_json(data, TOKENIZER_JSON)}[sys.argv[2]]()
    print("accepted", end=" ")
except InvalidJsonError as error:
    print(type(error).__name__, end=" ")
print(int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) * 1024)
"""


def costs(tmp_path: Path, text: bytes, how: str) -> tuple[str, int]:
    """How a fresh process judges the text, and the most memory that it had, in bytes."""
    (tmp_path / "text").write_bytes(text)
    command = [sys.executable, "-c", PEAK, str(tmp_path / "text"), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    verdict, peak = done.stdout.split()
    return verdict, int(peak)


def tokenizer(words: int, merges: int) -> bytes:
    """A tokenizer.json of the size of Gemma's: 262 144 words and 514 906 merges of two words each."""
    vocab = {f"\u2581w{number:06}": number for number in range(words)}
    table = {"vocab": vocab, "merges": [[f"\u2581w{number:06}", "ing"] for number in range(merges)]}
    return json.dumps({"version": "1.0", "added_tokens": [{"id": 0}], "model": table}, ensure_ascii=False, indent=2).encode()


@pytest.mark.slow
@pytest.mark.hard
@pytest.mark.fault("accepted")
def test_the_largest_tokenizers_are_scanned_in_little_memory(tmp_path: Path) -> None:
    text = tokenizer(262_144, 514_906)
    assert len(text) > 30_000_000
    verdict, peak = costs(tmp_path, text, "scan")
    assert (verdict, peak < len(text) * 2 + 60 * MIB) == ("accepted", True), peak


@pytest.mark.slow
@pytest.mark.hard
@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    "value",
    [
        {f"word{number}": number for number in range(262_144)},
        {
            "weight_map": {
                f"model.layers.{n}.mlp.experts.down_proj.weight": "model-00001-of-00163.safetensors" for n in range(150_000)
            }
        },
        [[f"\u2581{number}", -1.5 * number] for number in range(250_000)],
    ],
    ids=["vocabulary", "index", "unigrams"],
)
def test_large_files_of_real_models_are_parsed(tmp_path: Path, value: object) -> None:
    verdict, peak = costs(tmp_path, json.dumps(value, ensure_ascii=False).encode(), "read")
    assert (verdict, peak < 220 * MIB) == ("accepted", True), peak


@pytest.mark.slow
@pytest.mark.fault("refused")
@pytest.mark.parametrize("how", ["read", "scan"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: b"[" + b"[]," * 16_000_000 + b"[]]",
        lambda: b'{"a":[' + b"[]," * 8_000_000 + b"[]]}",
        lambda: b'{"a":[' + b'{"b":[{}]},' * 2_000_000 + b"[]]}",
    ],
    ids=["48 MB of lists", "24 MB in an object", "nested"],
)
def test_many_small_values_are_refused_uncounted(tmp_path: Path, how: str, make: Callable[[], bytes]) -> None:
    text = make()
    verdict, peak = costs(tmp_path, text, how)
    assert (verdict, peak < len(text) * 3 + 60 * MIB) == ("JsonTooLargeError", True), peak


@given(values)
def test_the_estimate_covers_the_text(value: object) -> None:
    text = json.dumps(value).encode()
    assert parsed_size(text) >= 3 * len(text)
