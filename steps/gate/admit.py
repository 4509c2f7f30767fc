"""The checks of a file that arrived, before it is published under its digest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from steps.core.errors import Reason, SlipwayError
from steps.gate.formats import FileFormat, check_content, classify
from steps.gate.json_files import MAX_JSON, check_json
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


def admit_together(names: Iterable[str], texts: Mapping[str, bytes]) -> None:
    """Check what needs all files at once: each shard index names the shards that belong to it, and nothing else.

    Args:
        names: The paths of all files of the model.
        texts: The contents of texts by path; the indexes among them are checked.

    Raises:
        SlipwayError: ``InvalidWeights``.
    """
    weights = {name for name in names if name.endswith(".safetensors")}
    for name, text in texts.items():
        if name.endswith(INDEX_SUFFIX):
            folder = name[: name.rfind("/") + 1]
            beginning = name.removesuffix(INDEX_SUFFIX) + "-"
            check_index(name, text, {other.removeprefix(folder) for other in weights if other.startswith(beginning)})
