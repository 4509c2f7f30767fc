"""The model card, ``README.md``: https://huggingface.co/docs/hub/model-cards."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

MAX_BYTES = 1 << 16  # of the card that are read
MAX_LICENCE = 100  # characters


def licence(folder: Path) -> str:
    """Return the ``license`` of the front matter of the card in ``folder``; empty where it names none.

    It becomes an image's label, so it has no control characters, and none that UTF-8 cannot encode.
    """
    card = folder / "README.md"
    text = card.read_bytes()[:MAX_BYTES].decode(errors="replace") if card.exists() else ""
    match = re.match(r"---\r?\n(.*?)\n---", text, re.DOTALL)
    try:
        front = yaml.safe_load(match[1]) if match else {}
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError):  # a bad date is a ValueError in PyYAML, for one
        return ""
    value = front.get("license", "") if isinstance(front, dict) else ""
    if not isinstance(value, str):
        return ""
    return "".join(character for character in value if character.isprintable())[:MAX_LICENCE]
