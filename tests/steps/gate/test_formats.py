"""Formats by name."""

from __future__ import annotations

import pytest

from steps.gate.formats import FileFormat, classify


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
