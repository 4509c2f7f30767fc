"""The checks of a file that arrived, before it is published under its digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from steps.core.errors import Reason, SlipwayError
from steps.gate.formats import FileFormat, check_content, classify
from steps.gate.json_files import MAX_JSON, check_json
from steps.gate.named_files import check_named_files, is_settings
from steps.gate.weights import check_index, read_header

INDEX_SUFFIX = ".safetensors.index.json"


def admit(name: str, path: Path) -> None:
    """Check one file by its format. ``name`` is its path in the model, ``path`` where it is now.

    Raises:
        SlipwayError: ``InvalidWeights``, ``ForbiddenFormat``, ``RemoteCode``, ``InvalidConfig`` or ``TooLarge``.
    """
    file_format, label = classify(name)
    if file_format is FileFormat.WEIGHTS:
        read_header(path, name)
        return
    if file_format is not FileFormat.TEXT:
        raise SlipwayError(Reason.FORBIDDEN_FORMAT, f"{name} is {label}.")
    with path.open("rb") as file:
        check_content(name, file.read(16))
    if name.endswith(".json"):
        if (size := path.stat().st_size) > MAX_JSON:
            raise SlipwayError(Reason.TOO_LARGE, f"{name} has {size} bytes; JSON files up to {MAX_JSON} are read.")
        check_json(name, path.read_bytes())


def names_files(name: str) -> bool:
    """Whether a file can name other files, which ``admit_together`` checks: a shard index, or settings."""
    return name.endswith(INDEX_SUFFIX) or is_settings(name)


def admit_together(names: Iterable[str], texts: Mapping[str, bytes]) -> None:
    """Check what needs all files at once: what names other files names those of the model, and nothing else.

    Args:
        names: The paths of all files of the model.
        texts: The contents of texts by path; those for which ``names_files`` is true are checked.

    Raises:
        SlipwayError: ``InvalidWeights`` for a shard index; for settings ``UnsafePath``, and what ``check_json`` raises.
    """
    files = frozenset(names)
    weights = {name for name in files if name.endswith(".safetensors")}
    for name, text in texts.items():
        if is_settings(name):
            check_named_files(name, check_json(name, text), files)
        if name.endswith(INDEX_SUFFIX):
            folder = name[: name.rfind("/") + 1]
            beginning = name.removesuffix(INDEX_SUFFIX) + "-"
            check_index(name, text, {other.removeprefix(folder) for other in weights if other.startswith(beginning)})
