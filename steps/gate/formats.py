"""Which files are weights, which are inert text, and what the others are called.

``classify`` goes by name, because that is all that is known before a file is fetched; ``check_content`` looks at the
first bytes of what arrived, so a pickle does not get in under the name of a text.
"""

from __future__ import annotations

import re
from enum import StrEnum
from fnmatch import fnmatchcase

from steps.core.errors import Reason, SlipwayError


class FileFormat(StrEnum):
    """What a file is to the gate: only weights and texts are let in."""

    WEIGHTS = "weights"
    TEXT = "text"
    FORBIDDEN = "forbidden"
    OTHER = "other"


# Inert files that tokenizers, processors and people read. `.model`, `.spm` and `.bpe` hold sentencepiece and BPE tables.
TEXT_NAMES = ("*.json", "*.txt", "*.jinja", "*.model", "*.spm", "*.bpe", "*.md", "LICENSE*", "NOTICE*", "*.vocab")

# Names that people know their formats by, for messages; the first pattern that matches counts.
FORBIDDEN_NAMES = {
    "*.bin": "PyTorch pickle",
    "*.pt": "PyTorch pickle",
    "*.pth": "PyTorch pickle",
    "*.ckpt": "PyTorch pickle",
    "*.pkl": "pickle",
    "*.pickle": "pickle",
    "*.joblib": "pickle",
    "*.msgpack": "Flax",
    "*.h5": "TensorFlow/Keras",
    "*.keras": "Keras",
    "*.pb": "TensorFlow",
    "*.tflite": "TensorFlow Lite",
    "*.onnx": "ONNX",
    "*.onnx_data": "ONNX",
    "*.ot": "Rust",
    "*.gguf": "GGUF",
    "*.ggml": "GGML",
    "*.mlmodel": "Core ML",
    "*.npz": "NumPy",
    "*.npy": "NumPy",
    "*.py": "Python code",
    "*.so": "program",
    "*.dll": "program",
    "*.sh": "program",
    "*.ipynb": "notebook",
    "*.zip": "archive",
    "*.tar*": "archive",
    "*.7z": "archive",
}

# First bytes of what must never pass as text: (magic, name). Pickle protocol 0 has no magic; it is text that is never
# unpickled.
MAGIC = (
    (b"PK\x03\x04", "a zip archive (or a PyTorch pickle)"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\xfd7zXZ", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x89HDF", "HDF5"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
    (b"GGUF", "GGUF"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def classify(path: str) -> tuple[FileFormat, str]:
    """What a file is by its path in the model, and the name of its format for a message.

    The name alone decides; ``check_content`` looks at the bytes.
    """
    name = path.rpartition("/")[2]
    if name.endswith(".safetensors"):
        return FileFormat.WEIGHTS, "safetensors"
    # A name such as model.safetensors.py must not slip in as anything else than code.
    for pattern, label in FORBIDDEN_NAMES.items():
        if fnmatchcase(name.lower(), pattern):
            return FileFormat.FORBIDDEN, label
    if any(fnmatchcase(name, pattern) for pattern in TEXT_NAMES):
        return FileFormat.TEXT, "text"
    return FileFormat.OTHER, "of an unknown format"


def check_content(path: str, head: bytes) -> None:
    """Raise ``ForbiddenFormat`` for a text file whose first bytes belong to another format.

    ``head`` holds at least the first 8 bytes, or the whole file where it is shorter.
    """
    for magic, label in MAGIC:
        if head.startswith(magic):
            raise SlipwayError(Reason.FORBIDDEN_FORMAT, f"{path} is {label}, not what its name says.")
    if _PICKLE.match(head):
        raise SlipwayError(Reason.FORBIDDEN_FORMAT, f"{path} is a pickle, not what its name says.")
