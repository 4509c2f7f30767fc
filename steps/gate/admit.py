"""The gate's door: each file that arrived is checked here before it is published under its digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from steps.errors import Reason, SlipwayError
from steps.gate.config import MAX_JSON, check_json
from steps.gate.formats import Kind, check_content, classify
from steps.gate.weights import check_index, read_header


def admit(name: str, path: Path) -> None:
    """Check one file by its kind. ``name`` is its path in the model, ``path`` where it lies now.

    Raises ``InvalidWeights``, ``ForbiddenFormat``, ``RemoteCode``, ``InvalidConfig`` or ``TooLarge``.
    """
    kind, label = classify(name)
    if kind is Kind.WEIGHTS:
        read_header(path, name)
        return
    if kind is not Kind.TEXT:
        raise SlipwayError(Reason.FORBIDDEN_FORMAT, f"{name} is {label}.")
    with path.open("rb") as file:
        check_content(name, file.read(16))
    if name.endswith(".json"):
        if path.stat().st_size > MAX_JSON:
            raise SlipwayError(Reason.TOO_LARGE, f"{name} has {path.stat().st_size} bytes; JSON up to {MAX_JSON} is read.")
        check_json(name, path.read_bytes())


def admit_together(paths: Mapping[str, Path]) -> None:
    """Check what only shows on all files at once: that a shard index names the shards and nothing else."""
    for name, path in paths.items():
        if name.endswith(".safetensors.index.json"):
            prefix = name.removesuffix(".safetensors.index.json") + "-"
            shards = {other for other in paths if other.startswith(prefix) and other.endswith(".safetensors")}
            if "/" not in name:
                check_index(name, path.read_bytes(), shards)
