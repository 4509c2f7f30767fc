"""Names, first bytes and JSON: what tells an inert file from one that could act."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.errors import Reason, SlipwayError
from steps.gate.admit import admit, admit_together
from steps.gate.formats import FileFormat, check_content, classify
from steps.gate.json_files import MAX_JSON, REMOTE_CODE_KEYS, architectures, check_json
from tests.model_trees import safetensors


@pytest.mark.parametrize(
    ("name", "kind", "label"),
    [
        ("model.safetensors", FileFormat.WEIGHTS, "safetensors"),
        ("sub/model.safetensors", FileFormat.WEIGHTS, "safetensors"),
        ("config.json", FileFormat.TEXT, "text"),
        ("LICENSE", FileFormat.TEXT, "text"),
        ("spiece.model", FileFormat.TEXT, "text"),
        ("chat_template.jinja", FileFormat.TEXT, "text"),
        ("pytorch_model.bin", FileFormat.FORBIDDEN, "PyTorch pickle"),
        ("PYTORCH_MODEL.BIN", FileFormat.FORBIDDEN, "PyTorch pickle"),
        ("model.safetensors.py", FileFormat.FORBIDDEN, "Python code"),
        ("LICENSE.py", FileFormat.FORBIDDEN, "Python code"),
        ("README.md.sh", FileFormat.FORBIDDEN, "program"),
        ("tf_model.h5", FileFormat.FORBIDDEN, "TensorFlow/Keras"),
        ("model.onnx_data", FileFormat.FORBIDDEN, "ONNX"),
        ("model.tar.gz", FileFormat.FORBIDDEN, "archive"),
        ("model.safetensors/x", FileFormat.OTHER, "of an unknown format"),
        (".gitattributes", FileFormat.OTHER, "of an unknown format"),
        ("", FileFormat.OTHER, "of an unknown format"),
    ],
)
def test_a_name_says_the_kind(name: str, kind: FileFormat, label: str) -> None:
    assert classify(name) == (kind, label)


def zipped(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("data.pkl", b"x")
    return (folder / "x.zip").read_bytes()


@pytest.mark.parametrize(
    "make",
    [
        *(lambda folder, protocol=protocol: pickle.dumps([1], protocol) for protocol in (2, 3, 4, 5)),
        zipped,
        lambda folder: gzip.compress(b"x"),
        lambda folder: bz2.compress(b"x"),
        lambda folder: lzma.compress(b"x"),
        lambda folder: Path("/bin/sh").read_bytes()[:64],
        lambda folder: b"#!/bin/sh\n",
        lambda folder: b"\x89HDF\r\n\x1a\n",
        lambda folder: b"GGUF\x03\0\0\0",
    ],
)
def test_another_format_under_the_name_of_a_text_is_refused(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    path = tmp_path / "incoming"
    path.write_bytes(make(tmp_path))
    for name in ("vocab.txt", "vocab.json", "LICENSE"):
        with pytest.raises(SlipwayError, match=f"{name} is .*, not what its name says") as caught:
            admit(name, path)
        assert caught.value.reason is Reason.FORBIDDEN_FORMAT


def test_texts_and_weights_are_let_in_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "incoming"
    path.write_bytes(safetensors({"a": b"x"}))
    admit("model.safetensors", path)
    with pytest.raises(SlipwayError, match="PyTorch pickle"):
        admit("model.bin", path)
    with pytest.raises(SlipwayError, match="of an unknown format"):
        admit("model", path)
    path.write_bytes(b"")
    admit("vocab.txt", path)
    check_content("vocab.txt", "ünï\n".encode())


@pytest.mark.parametrize("key", sorted(REMOTE_CODE_KEYS))
@pytest.mark.parametrize("nest", [lambda x: x, lambda x: {"a": x}, lambda x: [1, [x]], lambda x: {"a": [{"b": x}]}])
def test_a_key_that_names_code_is_found_at_any_depth(key: str, nest: Callable[[Any], Any]) -> None:
    values: list[Any] = [True, "x", {"AutoModel": "m.C"}, 1, [], {}]
    for value in values:
        with pytest.raises(SlipwayError, match=key) as caught:
            check_json("config.json", json.dumps(nest({key: value})).encode())
        assert caught.value.reason is Reason.REMOTE_CODE
    for value in (None, False):
        check_json("config.json", json.dumps(nest({key: value})).encode())


@pytest.mark.parametrize(
    "key", ["attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation"]
)
def test_a_kernel_from_a_repository_is_refused_and_a_built_in_one_is_not(key: str) -> None:
    values: list[Any] = ["evil/kernel", "evil/kernel@main:attention", {"text_config": "evil/kernel"}, ["evil/kernel"]]
    for value in values:
        with pytest.raises(SlipwayError, match="kernel from a repository") as caught:
            check_json("config.json", json.dumps({"text_config": {key: value}}).encode())
        assert caught.value.reason is Reason.REMOTE_CODE
    for value in ("sdpa", "flash_attention_2", None, {"text_config": "eager"}):
        check_json("config.json", json.dumps({key: value}).encode())


def test_a_tokenizers_vocabulary_may_hold_any_word() -> None:
    vocabulary = json.dumps({"model": {"vocab": {"auto_map": 1, "trust_remote_code": 2}}}).encode()
    check_json("tokenizer.json", vocabulary)
    check_json("sub/tokenizer.json", vocabulary)
    with pytest.raises(SlipwayError):
        check_json("not_tokenizer.json", vocabulary)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe{\0}\0",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b"[" * 200_000,
        b"[" * 150 + b"]" * 150,
        b'{"a":' * 150 + b"1" + b"}" * 150,
        b"9" * 5000,
    ],
    ids=range(9),
)
def test_what_is_no_plain_json_is_refused_without_harm(text: bytes) -> None:
    with pytest.raises(SlipwayError, match=r"^InvalidConfig: config\.json is "):
        check_json("config.json", text)


def test_huge_json_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "incoming"
    with path.open("wb") as file:
        file.write(b"{}")
        file.truncate(MAX_JSON + 1)  # a hole: it costs no disk
    with pytest.raises(SlipwayError, match=r"config\.json has") as caught:
        admit("config.json", path)
    assert caught.value.reason is Reason.TOO_LARGE


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_json(text: bytes) -> None:
    try:
        check_json("config.json", text)
    except SlipwayError as error:
        if error.reason not in (Reason.INVALID_CONFIG, Reason.REMOTE_CODE):
            raise


@pytest.mark.parametrize("config", [None, [], {}, {"architectures": []}, {"architectures": "X"}, {"architectures": [5]}])
def test_a_config_that_does_not_name_its_architecture_is_refused(config: Any) -> None:
    with pytest.raises(SlipwayError, match="which architecture"):
        architectures(config)
    for name in ("a b", "os;x", "{{x}}", ""):
        with pytest.raises(SlipwayError, match="which architecture"):
            architectures({"architectures": [name]})
    assert architectures({"architectures": ["BertModel"]}) == ("BertModel",)


def index(weight_map: Any) -> dict[str, bytes]:
    return {"model.safetensors.index.json": json.dumps({"weight_map": weight_map}).encode()}


SHARDS = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_an_index_names_its_shards_and_each_of_them() -> None:
    weight_map = {"a": SHARDS[1], "b": SHARDS[2], "c": SHARDS[1]}
    admit_together(SHARDS, index(weight_map))
    admit_together([*SHARDS, "other.safetensors"], index(weight_map))
    inside = {f"sub/{name}": text for name, text in index(weight_map).items()}
    admit_together([f"sub/{name}" for name in SHARDS], inside)
    with pytest.raises(SlipwayError):
        admit_together(SHARDS, inside)


@pytest.mark.parametrize(
    "weight_map",
    [
        {"a": "../model-00001-of-00002.safetensors"},
        {"a": "/etc/passwd"},
        {"a": "./model-00001-of-00002.safetensors", "b": SHARDS[2]},
        {"a": SHARDS[1], "b": "model-00003-of-00002.safetensors"},
        {"a": SHARDS[1], "b": SHARDS[2], "c": "config.json"},
        {"a": SHARDS[1]},
        {"a": SHARDS[1], "b": None},
        {"a": SHARDS[1], "b": [SHARDS[2]]},
        {},
        [],
        None,
    ],
)
def test_an_index_that_names_anything_else_is_refused(weight_map: Any) -> None:
    with pytest.raises(SlipwayError, match=r"model\.safetensors\.index\.json") as caught:
        admit_together(SHARDS, index(weight_map))
    assert caught.value.reason is Reason.INVALID_WEIGHTS
