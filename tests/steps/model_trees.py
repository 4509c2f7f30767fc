"""Small model folders as people push them, written byte by byte: no library is needed, and none could load the weights' twins.

tree = model_tree(tmp_path / "tree")          # config, tokenizer, README and one model.safetensors
add_copies(tree)                              # the same weights again as a hub holds them: pickle, Flax, HDF5, ONNX
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COPIES = ("pytorch_model.bin", "flax_model.msgpack", "tf_model.h5", "model.onnx", "onnx/model_quantized.onnx")


def safetensors(tensors: Mapping[str, bytes], metadata: Mapping[str, str] | None = None) -> bytes:
    """A sound safetensors file of one-dimensional U8 tensors."""
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, data in tensors.items():
        table[name] = {"dtype": "U8", "shape": [len(data)], "data_offsets": [position, position + len(data)]}
        position += len(data)
    return raw_safetensors(json.dumps(table).encode(), b"".join(tensors.values()))


def raw_safetensors(header: bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """Length, header and data as they are given, sound or not."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not repeat, so that no part can pass for another; equal for equal arguments."""
    return random.Random(seed).randbytes(size)


def model_tree(folder: Path, *, size: int = 1000, architecture: str = "BertForSequenceClassification") -> Path:
    """A text model with ``size`` bytes of weights in one file."""
    folder.mkdir(parents=True)
    write_json(
        folder / "config.json", {"architectures": [architecture], "model_type": "bert", "id2label": {"0": "a", "1": "b"}}
    )
    write_json(folder / "tokenizer.json", {"version": "1.0", "model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1}}})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
    (folder / "model.safetensors").write_bytes(safetensors({"weight": noise(size)}))
    return folder


def add_copies(folder: Path, size: int = 1000) -> None:
    """The formats that a hub's repository holds beside safetensors, as bytes that nobody should ever ask for."""
    for seed, name in enumerate(COPIES, start=1):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(noise(size, seed))


def shard(folder: Path, count: int = 2, size: int = 1000) -> list[str]:
    """Replace model.safetensors by ``count`` shards and their index; returns the shards' names."""
    (folder / "model.safetensors").unlink()
    names = [f"model-{number:05}-of-{count:05}.safetensors" for number in range(1, count + 1)]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(safetensors({f"layer.{seed}": noise(size, seed)}))
    weight_map = {f"layer.{seed}": name for seed, name in enumerate(names)}
    write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size * count}, "weight_map": weight_map})
    return names


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))
