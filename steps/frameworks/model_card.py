"""The model card, ``README.md``: https://huggingface.co/docs/hub/model-cards.

A card is read for a label and for nothing else, so it may hold anything and never stops a run. Its front matter is taken as a
stream of events: aliases, merges and tags, by which 700 bytes of YAML stand for gigabytes, are never carried out.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

MAX_BYTES = 1 << 16  # of the card that are read
MAX_LICENCE = 100  # characters
MAX_DEPTH = 50
_STRING = "tag:yaml.org,2002:str"


def licence(folder: Path) -> str:
    """Return the ``license`` of the front matter of the card in ``folder``; empty where it names none.

    It becomes an image's label, so it has no control characters, and none that UTF-8 cannot encode.
    """
    try:
        with (folder / "README.md").open("rb") as card:
            text = card.read(MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
    match = re.match(r"---\r?\n(.*?)\n---", text, re.DOTALL)
    try:
        value = _top_level_text(match[1], "license") if match else ""
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError):  # PyYAML lets some of Python's own errors out
        return ""
    return "".join(character for character in value if character.isprintable())[:MAX_LICENCE]


def _top_level_text(front: str, wanted: str) -> str:
    """The text that the document's mapping has for a key; empty for anything but a text."""
    depth = 0
    key: str | None = None  # of the top mapping, while its value is awaited
    expects_key = True
    resolver = yaml.SafeLoader("")
    for event in yaml.parse(front, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            if depth == 1:
                if not expects_key and key == wanted:
                    return _text_of(event, resolver)
                key = event.value if isinstance(event, yaml.ScalarEvent) and expects_key else None
                expects_key = not expects_key
            if isinstance(event, yaml.CollectionStartEvent):
                if depth == MAX_DEPTH or (depth == 0 and not isinstance(event, yaml.MappingStartEvent)):
                    return ""
                depth += 1
    return ""


def _text_of(event: yaml.NodeEvent, resolver: yaml.SafeLoader) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        return ""
    tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
    return str(event.value) if tag in (_STRING, "!") else ""
