"""Files at the gate: what is admitted by name, by its first bytes and together with others."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.gate.admit import admit, admit_together
from steps.gate.formats import check_content
from steps.gate.json_files import MAX_JSON
from tests.steps.model_trees import safetensors


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
def test_another_format_named_as_text_is_refused(tmp_path: Path, make: Callable[[Path], bytes]) -> None:
    path = tmp_path / "incoming"
    path.write_bytes(make(tmp_path))
    for name in ("vocab.txt", "vocab.json", "LICENSE"):
        with pytest.raises(SlipwayError, match=f"{name} is .*, not what its name says") as caught:
            admit(name, path)
        assert caught.value.reason is Reason.FORBIDDEN_FORMAT


def test_only_texts_and_weights_are_admitted(tmp_path: Path) -> None:
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


def test_huge_json_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "incoming"
    with path.open("wb") as file:
        file.write(b"{}")
        file.truncate(MAX_JSON + 1)  # a hole: it costs no disk
    with pytest.raises(SlipwayError, match=r"config\.json has") as caught:
        admit("config.json", path)
    assert caught.value.reason is Reason.TOO_LARGE


def index(weight_map: object) -> dict[str, bytes]:
    return {"model.safetensors.index.json": json.dumps({"weight_map": weight_map}).encode()}


SHARDS = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_an_index_names_each_shard() -> None:
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
def test_an_index_that_names_anything_else_is_refused(weight_map: object) -> None:
    with pytest.raises(SlipwayError, match=r"model\.safetensors\.index\.json") as caught:
        admit_together(SHARDS, index(weight_map))
    assert caught.value.reason is Reason.INVALID_WEIGHTS
