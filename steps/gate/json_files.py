"""The model's JSON files: they may describe a model, never name code to run.

Keys that make transformers import code from a repository are refused at any depth of any JSON file, unless they say no
(``null``, ``false``): ``trust_remote_code=False`` at load time is a second lock, not the first.
"""

from __future__ import annotations

import json
from typing import Any

from steps.core.errors import Reason, SlipwayError

REMOTE_CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "custom_generate", "code_revision"})
MAX_JSON = 256 << 20  # bytes; the largest tokenizers are tens of megabytes
MAX_DEPTH = 100


def check_json(path: str, text: bytes) -> Any:
    """Parse a JSON file of the model and refuse it when it asks for code. Returns its value."""
    if len(text) > MAX_JSON:
        raise SlipwayError(Reason.TOO_LARGE, f"{path} has {len(text)} bytes; JSON files up to {MAX_JSON} are read.")
    try:
        value = json.loads(text.decode())  # decoded here, because json.loads would take UTF-16 too
    except (ValueError, RecursionError) as error:
        raise SlipwayError(Reason.INVALID_CONFIG, f"{path} is no JSON: {error}.") from None
    # tokenizer.json is one large table for a compiled library that imports nothing; walking its vocabulary tells nothing.
    if path.rpartition("/")[2] != "tokenizer.json":
        _walk(path, value, "", 0)
    return value


def _walk(path: str, value: Any, where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise SlipwayError(Reason.INVALID_CONFIG, f"{path} is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, dict):
        for key, item in value.items():
            if key in REMOTE_CODE_KEYS and item not in (None, False):
                raise SlipwayError(Reason.REMOTE_CODE, f"{path} asks for code of its own: {where}{key} is set.")
            # `attn_implementation`, `_experts_implementation` and the like: a name, or one for each part of the model.
            if "_implementation" in key and any("/" in str(name) for name in _leaves(item)):
                raise SlipwayError(Reason.REMOTE_CODE, f"{path} asks for a kernel from a repository: {where}{key}.")
            _walk(path, item, f"{where}{key}.", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _walk(path, item, f"{where}{index}.", depth + 1)


def _leaves(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else [value]


def architectures(config: Any) -> tuple[str, ...]:
    """The class names that ``config.json`` was saved from. Raises ``InvalidConfig`` when it does not say."""
    names = config.get("architectures") if isinstance(config, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise SlipwayError(Reason.INVALID_CONFIG, "config.json does not say which architecture the model is.")
    return tuple(names)
