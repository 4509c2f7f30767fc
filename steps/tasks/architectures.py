"""Which classes of transformers do what: its auto classes' tables, written down for images that do not have the library.

``make pins`` writes ``architectures.json`` anew, with the versions; a test proves it fresh.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path

FILE = Path(__file__).with_name("architectures.json")

Table = dict[str, list[str]]  # model type: names of classes


@functools.cache
def tables() -> dict[str, Table]:
    """All tables by their short name: ``SEQUENCE_CLASSIFICATION`` for ``MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES``."""
    found: dict[str, Table] = json.loads(FILE.read_text())
    return found


def classes_of(names: Iterable[str]) -> set[str]:
    """The classes in these tables."""
    return {each for name in names for classes in tables()[name].values() for each in classes}


def model_types_of(names: Iterable[str]) -> set[str]:
    """The model types (``model_type`` in ``config.json``) in these tables."""
    return {model_type for name in names for model_type in tables()[name]}


def from_transformers() -> dict[str, Table]:
    """The tables as the installed library has them."""
    from transformers.models.auto import modeling_auto

    found: dict[str, Table] = {}
    for name, table in vars(modeling_auto).items():
        if name.startswith("MODEL_FOR_") and name.endswith("_MAPPING_NAMES"):
            short = name.removeprefix("MODEL_FOR_").removesuffix("_MAPPING_NAMES")
            found[short] = {key: [value] if isinstance(value, str) else list(value) for key, value in table.items()}
    return found


def text() -> str:
    """What the file should hold: one model type a line, so that a change reads well."""
    parts = []
    for name, table in sorted(from_transformers().items()):
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(table[key])}" for key in sorted(table))
        parts.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
