"""Which classes of transformers do what: the tables of its auto classes, for images without the library.

``make pins`` writes ``architectures.json`` from the installed transformers (``scan_transformers.py``); a test proves it fresh.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path

FILE = Path(__file__).with_name("architectures.json")

Table = dict[str, list[str]]  # names of classes by model type


@functools.cache
def tables() -> dict[str, Table]:
    """Return all tables by their short name: ``CTC`` for ``MODEL_FOR_CTC_MAPPING_NAMES``."""
    found: dict[str, Table] = json.loads(FILE.read_text())
    return found


def architectures_in(names: Iterable[str]) -> set[str]:
    """Return the classes in the tables of these short names."""
    return {each for name in names for classes in tables()[name].values() for each in classes}


def model_types_in(names: Iterable[str]) -> set[str]:
    """Return the model types (``model_type`` in ``config.json``) in the tables of these short names."""
    return {model_type for name in names for model_type in tables()[name]}
