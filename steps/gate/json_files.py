"""The model's JSON files: they may describe a model, never name code to run.

Keys that make transformers import code from a repository are refused at any depth of any JSON file, unless they are
``null`` or ``false``. ``trust_remote_code=False``, when the model is loaded, is the second check.
"""

from __future__ import annotations

from steps.core.errors import Reason, SlipwayError
from steps.core.json_reader import MODEL_JSON, TOKENIZER_JSON, InvalidJsonError, JsonTooLargeError, read_json, scan_json

REMOTE_CODE_KEYS = frozenset({"auto_map", "trust_remote_code", "custom_pipelines", "custom_generate", "code_revision"})
MAX_JSON = max(MODEL_JSON.size, TOKENIZER_JSON.size)  # bytes: what is larger need not be read to be refused
MAX_DEPTH = MODEL_JSON.depth
_LARGE = "If the model does not need the file, leave it out with `exclude`."


def check_json(path: str, text: bytes) -> object:
    """Check a JSON file of the model and return its value: dicts, lists, strings, numbers, booleans and None.

    ``tokenizer.json`` is one large table for a compiled library that imports nothing, and walking its vocabulary tells nothing:
    only its syntax is checked, without building the table, and its value is None.

    Args:
        path: The file's path in the model, for messages.
        text: Its bytes, in UTF-8.

    Raises:
        SlipwayError: ``TooLarge``, ``InvalidConfig`` for what is not JSON or is nested too deeply, ``RemoteCode`` where it
            names code to run.
    """
    try:
        if path.rpartition("/")[2] == "tokenizer.json":
            scan_json(text, TOKENIZER_JSON)
            return None
        value = read_json(text, MODEL_JSON)
    except JsonTooLargeError as error:
        raise SlipwayError(Reason.TOO_LARGE, f"{path} is too large: {error}.", hint=_LARGE) from None
    except InvalidJsonError as error:
        raise SlipwayError(Reason.INVALID_CONFIG, f"{path} is not JSON that can be read: {error}.") from None
    _walk(path, value, "", 0)
    return value


def _walk(path: str, value: object, where: str, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise SlipwayError(Reason.INVALID_CONFIG, f"{path} is nested more than {MAX_DEPTH} levels deep.")
    if isinstance(value, dict):
        for key, item in value.items():
            if key in REMOTE_CODE_KEYS and item not in (None, False):
                raise SlipwayError(Reason.REMOTE_CODE, f"{path} names code of its own: {where}{key} is set.")
            # `attn_implementation`, `_experts_implementation` and the like: a name, or one for each part of the model.
            if "_implementation" in key and any("/" in str(name) for name in _leaves(item)):
                raise SlipwayError(Reason.REMOTE_CODE, f"{path} names a kernel from a repository: {where}{key}.")
            _walk(path, item, f"{where}{key}.", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _walk(path, item, f"{where}{index}.", depth + 1)


def _leaves(value: object) -> list[object]:
    return list(value.values()) if isinstance(value, dict) else [value]


def check_config(text: bytes) -> dict[str, object]:
    """Parse ``config.json`` and return its fields.

    Raises:
        SlipwayError: As ``check_json`` does, and ``InvalidConfig`` where it does not name an architecture.
    """
    config = check_json("config.json", text)
    architectures(config)
    assert isinstance(config, dict)
    return config


def architectures(config: object) -> tuple[str, ...]:
    """The names of the classes that ``config.json`` was saved from. Raises ``InvalidConfig`` where it names none."""
    names = config.get("architectures") if isinstance(config, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise SlipwayError(Reason.INVALID_CONFIG, "config.json does not say which architecture the model is.")
    return tuple(names)
