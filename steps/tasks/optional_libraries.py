"""Which classes of transformers need an optional library, such as timm or torchvision.

transformers may know a model and still not open it: its processor may need torchvision, which has no build for every machine,
its backbone may come from timm, or its tokenizer may need SentencePiece. That follows from ``config.json``, so a model is
refused for it before its weights are downloaded. What a processor's own file says is seen by the load step alone: a LLaVA
with Pixtral's processor, or a BERT with a tokenizer for Japanese, is refused there.

``make pins`` writes ``optional_libraries.json`` from the installed transformers (``scan_transformers.py``); a test proves it
fresh.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

FILE = Path(__file__).with_name("optional_libraries.json")
# The tables of the file that list classes by model type, and what their classes are called in a message.
COMPONENT_NAMES = {
    "tokenizer": "tokenizer",
    "image_processor": "image processor",
    "feature_extractor": "feature extractor",
    "processor": "processor",
    "model": "class",
    "backbone": "backbone",  # the class of a model's backbone unless config.json names another
}


@functools.cache
def _file() -> dict[str, object]:
    found: dict[str, object] = json.loads(FILE.read_text())
    return found


def libraries_by_class() -> Mapping[str, list[str]]:
    """Return the optional libraries that each class needs; classes that need none are left out."""
    return cast("Mapping[str, list[str]]", _file()["classes"])


def classes_by_model_type(component: str) -> Mapping[str, str]:
    """Return, for one of ``COMPONENT_NAMES``, the class for each model type; those that need no library are left out."""
    return cast("Mapping[str, str]", _file()[component])


def missing_libraries(class_name: str, packages: frozenset[str]) -> str:
    """Say which libraries a class needs that are not among ``packages`` (names in lower case).

    Returns:
        ``CLASS needs LIBRARY and LIBRARY``, or an empty text if none is missing.
    """
    missing = [library for library in libraries_by_class().get(class_name, ()) if library not in packages]
    return f"{class_name} needs {' and '.join(missing)}" if missing else ""


def missing_libraries_of_component(component: str, model_type: object, packages: frozenset[str]) -> str:
    """Do the same for the class that a component (see ``COMPONENT_NAMES``) of a model of this type has."""
    name = classes_by_model_type(component).get(model_type) if isinstance(model_type, str) else None
    return missing_libraries(name, packages) if name else ""


def nested_model_types(config: Mapping[str, object]) -> set[str]:
    """Return the model types of all nested configurations (``backbone_config``, ``encoder``, …), at any depth."""
    found: set[str] = set()
    waiting = list(config.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            if isinstance(value.get("model_type"), str):
                found.add(value["model_type"])
        elif isinstance(value, list):
            waiting += [each for each in value if isinstance(each, dict)]
    return found
