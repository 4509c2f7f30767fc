"""Safetensors headers: each rule at its edge, and the library as the judge of what a sound file is."""

from __future__ import annotations

import copy
import json
import math
import struct
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors import safe_open

from steps.core.errors import Reason, SlipwayError
from steps.gate.weights import DTYPES, MAX_HEADER, Header, check_index, read_header
from tests.steps.model_trees import raw_safetensors

TENSOR = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def read(path: Path, header: Any, data: bytes = b"abcd", **settings: int) -> Header:
    """Write a file with this header (a text, or a value for JSON) and read it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(raw_safetensors(text, data, **settings))
    return read_header(path, "model.safetensors")


def opens(path: Path) -> bool:
    """Whether the library opens the file."""
    try:
        with safe_open(path, framework="np") as file:
            list(file.keys())
    except Exception:  # its errors have no base of their own
        return False
    return True


def test_a_header_counts_elements_by_dtype(path: Path) -> None:
    table = {
        "__metadata__": {"format": "pt", "ü": "\U0001f600"},
        "b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [4, 28]},
        "a": TENSOR,
        "empty": {"dtype": "F64", "shape": [0, 7], "data_offsets": [28, 28]},
        "scalar": {"dtype": "I16", "shape": [], "data_offsets": [28, 30]},
    }
    header = read(path, table, bytes(30))
    assert header.elements == {"F32": 6, "U8": 4, "F64": 0, "I16": 1}
    assert header.names == {"a", "b", "empty", "scalar"}
    assert opens(path)


def test_every_dtype_has_the_librarys_size(path: Path) -> None:
    for dtype, bits in DTYPES.items():
        read(path, {"a": {"dtype": dtype, "shape": [8], "data_offsets": [0, bits]}}, bytes(bits))
        assert opens(path), dtype


def two(first: list[int], second: list[int]) -> dict[str, Any]:
    return {
        name: {"dtype": "U8", "shape": [span[1] - span[0]], "data_offsets": span}
        for name, span in (("a", first), ("b", second))
    }


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("header", "data", "says"),
    [
        (two([0, 2], [3, 4]), b"abcd", "'b' begins at byte 3 of the data, not at 2"),
        (two([0, 3], [2, 4]), b"abcd", "'b' begins at byte 2 of the data, not at 3"),
        (two([1, 2], [2, 4]), b"abcd", "'a' begins at byte 1 of the data, not at 0"),
        (two([0, 4], [0, 4]), b"abcd", "begins at byte 0 of the data, not at 4"),
        ({"a": TENSOR}, b"abcde", "fill 4 bytes of 5"),
        ({"a": TENSOR}, b"abc", "fill 4 bytes of 3"),
        ({"a": TENSOR}, b"", "fill 4 bytes of 0"),
        ({"a": TENSOR | {"shape": [3]}}, b"abcd", "3 elements of U8 in 4 bytes"),
        ({"a": TENSOR | {"shape": [5]}}, b"abcd", "5 elements of U8 in 4 bytes"),
        ({"a": TENSOR | {"dtype": "F32"}}, b"abcd", "4 elements of F32 in 4 bytes"),
        ({"a": TENSOR | {"dtype": "F4", "shape": [7]}}, b"abcd", "7 elements of F4 in 4 bytes"),
        ({"a": TENSOR | {"data_offsets": [4, 0]}}, b"abcd", "in -4 bytes"),
        ({"a": TENSOR | {"shape": [1 << 63]}}, b"abcd", "not whole numbers"),
        ({"a": TENSOR | {"data_offsets": [0, 1 << 63]}}, b"abcd", "not whole numbers"),
        ({"a": TENSOR | {"shape": [(1 << 63) - 1]}}, b"abcd", "elements of U8 in 4 bytes"),
        ({"a": TENSOR | {"shape": [1 << 62, 2, 0], "data_offsets": [0, 0]}}, b"", "overflows"),
        ({"a": TENSOR | {"shape": [-4]}}, b"abcd", "a negative number"),
        (b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', b"", "a negative number"),
        ({"a": TENSOR | {"shape": [4.0]}}, b"abcd", "not whole numbers"),
        ({"a": TENSOR | {"shape": [True, 4]}}, b"abcd", "not whole numbers"),
        ({"a": TENSOR | {"shape": ["4"]}}, b"abcd", "not whole numbers"),
        ({"a": TENSOR | {"shape": None}}, b"abcd", "not whole numbers"),
        ({"a": TENSOR | {"data_offsets": [0]}}, b"abcd", "not whole numbers"),
        ({"a": TENSOR | {"data_offsets": [0, 2, 4]}}, b"abcd", "not whole numbers"),
        ({"a": TENSOR | {"dtype": "F31"}}, b"abcd", "unknown dtype 'F31'"),
        ({"a": TENSOR | {"dtype": "u8"}}, b"abcd", "unknown dtype 'u8'"),
        ({"a": TENSOR | {"dtype": ["U8"]}}, b"abcd", "unknown dtype"),
        ({"a": TENSOR | {"dtype": None}}, b"abcd", "unknown dtype"),
        ({"a": TENSOR | {"more": 1}}, b"abcd", "does not have just dtype, shape and data_offsets"),
        ({"a": {"dtype": "U8", "shape": [4]}}, b"abcd", "does not have just"),
        ({"a": [0, 4]}, b"abcd", "does not have just"),
        ({"a": None}, b"abcd", "does not have just"),
        ({"": TENSOR}, b"abcd", "a tensor named ''"),
        ({"../a": TENSOR}, b"abcd", "a tensor named '../a'"),
        ({"a/../b": TENSOR}, b"abcd", "a tensor named 'a/../b'"),
        ({"a b": TENSOR}, b"abcd", "a tensor named 'a b'"),
        ({"a\n": TENSOR}, b"abcd", "a tensor named 'a\\n'"),
        ({"a" * 1001: TENSOR}, b"abcd", "a tensor named 'aaa"),
        (b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', b"abcd",
         "a name occurs twice"),
        (b'{"a":{"dtype":"F32","dtype":"U8","shape":[4],"data_offsets":[0,4]}}', b"abcd", "a name occurs twice"),
        ({"__metadata__": {"x": 5}, "a": TENSOR}, b"abcd", "does not map texts to texts"),
        ({"__metadata__": {"x": {"y": "z"}}, "a": TENSOR}, b"abcd", "does not map texts to texts"),
        ({"__metadata__": ["x"], "a": TENSOR}, b"abcd", "does not map texts to texts"),
        ({"__metadata__": None, "a": TENSOR}, b"abcd", "does not map texts to texts"),
        ({"__metadata__": {"x": "\ud800"}, "a": TENSOR}, b"abcd", "does not map texts to texts"),
        ({"__metadata__": {"\udfff": "x"}, "a": TENSOR}, b"abcd", "does not map texts to texts"),
        ({}, b"", "0 tensors"),
        ({"__metadata__": {}}, b"", "0 tensors"),
        ([TENSOR], b"abcd", "not a JSON object"),
        (b"{}}", b"", "not a JSON object"),
        (b"{\xff}", b"", "not a JSON object"),
        (b'{"a":NaN}', b"", "does not have just"),
        (b"[" * 100_000, b"", "not a JSON object"),
        (json.dumps({"a": TENSOR}).encode("utf-16"), b"abcd", "not a JSON object"),
        (json.dumps({"a": TENSOR}).encode("utf-8-sig"), b"abcd", "not a JSON object"),
        (json.dumps({"a": TENSOR}).encode() + b"\0", b"abcd", "not a JSON object"),
    ],
)  # fmt: skip
def test_each_broken_rule_is_named(path: Path, header: Any, data: bytes, says: str) -> None:
    with pytest.raises(SlipwayError, match=r"^InvalidWeights: model\.safetensors is not a valid safetensors file: ") as caught:
        read(path, header, data)
    assert caught.value.reason is Reason.INVALID_WEIGHTS
    assert says in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("name", ["esm.encoder.layer.*.inv_freq", "blocks[0].weight", "a:b/c-d", ".weight", "(head)@1,2=x+y"])
def test_names_that_frameworks_give_are_taken(path: Path, name: str) -> None:
    assert read(path, {name: TENSOR}, b"abcd").names == {name}


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x02",
        struct.pack("<Q", 2) + b"{",
        struct.pack("<Q", 0),
        struct.pack("<Q", 1) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        struct.pack("<Q", (1 << 64) - 1) + b"{}",
        struct.pack(">Q", 2) + b"{}",
        b"\x80\x04K\x05." * 4,
        b"PK\x03\x04" * 4,
    ],
)
def test_a_header_longer_than_its_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SlipwayError, match="its header") as caught:
        read_header(path, "model.safetensors")
    assert caught.value.reason is Reason.INVALID_WEIGHTS


@pytest.mark.fault("refused")
def test_a_header_above_the_limit_is_refused_unread(path: Path) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", MAX_HEADER + 1))
        file.truncate(MAX_HEADER + 100)  # a hole: it costs no disk
    with pytest.raises(SlipwayError, match=f"the limit {MAX_HEADER}"):
        read_header(path, "model.safetensors")


@pytest.mark.fault("refused")
def test_a_message_stays_short_whatever_the_header_holds(path: Path) -> None:
    for table in ({"a": TENSOR | {"shape": [1] * 100_000}}, {"b" * 100_000: TENSOR}, {"a": TENSOR | {"dtype": "x" * 100_000}}):
        with pytest.raises(SlipwayError) as caught:
            read(path, table, b"abcdef")
        assert len(caught.value.message) < 400


tensors = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.]{0,20}", fullmatch=True).filter(lambda name: name != "__metadata__"),
    arrays(
        st.sampled_from([np.float32, np.float16, np.int64, np.uint8, np.bool_]),
        array_shapes(min_dims=0, max_dims=3, max_side=4),
    ),
    min_size=1,
    max_size=4,
)
metadata = st.none() | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.just("ü"), max_size=2)


@pytest.mark.fault("accepted")
@pytest.mark.slow
@given(tensors, metadata)
@settings(max_examples=60)
def test_what_the_library_writes_is_let_in(made: dict[str, Any], about: dict[str, str] | None) -> None:
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        file.write(safetensors.numpy.save(made, about))
        file.flush()
        header = read_header(Path(file.name), "model.safetensors")
    assert header.names == set(made)
    assert sum(header.elements.values()) == sum(array.size for array in made.values())


HUGE = (1 << 62, (1 << 63) - 1, 1 << 63, 1 << 64)
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [0, -0.0, 1, 4, -1, *HUGE, 1e300, True, None, "", "x", [], [0], {}, [0, 4], [4, 8], "F4", "F32"]
)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, *HUGE]), max_size=3)


@st.composite
def near_sound(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A header whose offsets follow from its shapes, and its data; one value and one byte of it may be replaced."""
    table: dict[str, Any] = {}
    position = 0
    for name in draw(st.sampled_from(["a", "ab", "cba"])):
        dtype, shape = draw(st.sampled_from(sorted(DTYPES))), draw(SHAPES)
        size = -(-math.prod(shape) * DTYPES[dtype] // 8)
        end = position + (size if size < 1000 else 0)
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, end]}
        position = end
    if draw(st.booleans()):
        table["__metadata__"] = draw(st.dictionaries(st.text(max_size=2), st.text(max_size=3), max_size=2))
    if draw(st.integers(0, 3)) == 0:
        place = draw(st.sampled_from([table, *(value for value in table.values())]))
        place[draw(st.sampled_from([*place, "dtype", "shape", "data_offsets", "c"]))] = copy.deepcopy(draw(VALUES))
    text = bytearray(json.dumps(table, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass"))
    if draw(st.integers(0, 3)) == 0:
        text[draw(st.integers(0, len(text) - 1))] = draw(st.one_of(st.integers(0, 255), st.sampled_from(b'0123-+e.,:"\\[]{} ')))
    before, after = draw(st.sampled_from([(b"", b""), (b"", b" \n\t"), (b" ", b""), (b"", b"\0"), (b"", b"x")]))
    return before + bytes(text) + after, bytes(position + draw(st.sampled_from([0, 0, 0, 1])))


@pytest.mark.fault("accepted")
@given(near_sound())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@example((b'{"a":{"dtype":"U8","shape":[4611686018427387904,4,0],"data_offsets":[0,0]}}', b""))
@example((b'{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}', b"ab"))
@example((b'{"__metadata__":{"x":"\\ud800"},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', b""))
def test_the_library_opens_what_is_admitted(file: tuple[bytes, bytes]) -> None:
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as target:
        target.write(raw_safetensors(*file))
        target.flush()
        path = Path(target.name)
        try:
            header = read_header(path, "model.safetensors")
        except SlipwayError as error:
            if error.reason is Reason.INVALID_WEIGHTS:
                return
            raise
        with safe_open(path, framework="np") as opened:
            assert set(opened.keys()) == header.names
            assert all(tuple(opened.get_slice(name).get_shape()) is not None for name in header.names)


@pytest.mark.fault("refused")
@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"{}", b'{"weight_map": 5}', b"[" * 100_000])
def test_an_index_out_of_shape_is_refused(text: bytes) -> None:
    with pytest.raises(SlipwayError, match="no weight_map"):
        check_index("model.safetensors.index.json", text, set())


@pytest.mark.fault("refused")
def test_a_member_of_a_tensor_must_be_short(path: Path) -> None:
    with pytest.raises(SlipwayError, match=r"tensor 'a' has [0-9]+ bytes of header") as caught:
        read(path, {"a": {"dtype": "U8" + " " * 10_000, "shape": [4], "data_offsets": [0, 4]}}, b"abcd")
    assert caught.value.reason is Reason.INVALID_WEIGHTS


@pytest.mark.fault("refused")
@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"weight_map": {"a": 1}}', b'{"weight_map": {}, "weight_map": {}}', b"\xff"])
def test_an_index_without_one_map_is_refused(text: bytes) -> None:
    with pytest.raises(SlipwayError, match="has no weight_map that can be read") as caught:
        check_index("model.safetensors.index.json", text, set())
    assert caught.value.reason is Reason.INVALID_WEIGHTS
