"""Pictures, sounds and films that a page can hold in itself: those of the golden request, and those inside answers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from steps.core.text import display_text, format_bytes

# What a file is, by its first bytes; "RIFF" and "ftyp" files say more behind their length.
MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"fLaC": "audio/flac",
    b"OggS": "audio/ogg",
    b"ID3": "audio/mpeg",
    b"\x1aE\xdf\xa3": "video/webm",
}
RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
MAX_BYTES = 2_000_000  # the report stays a file that can be mailed
MAX_SHOWN = 6  # of one answer's field


@dataclass(frozen=True)
class Medium:
    """``kind`` is ``image``, ``audio`` or ``video``; ``data_uri`` is empty for what cannot be shown."""

    name: str
    kind: str
    data_uri: str


def medium(name: str, content: str) -> Medium:
    """A file in base64. Only what is of a known kind and small is shown."""
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    media_type = _media_type(data) if len(data) <= MAX_BYTES else ""
    uri = f"data:{media_type};base64,{base64.b64encode(data).decode()}" if media_type else ""
    return Medium(display_text(name, 60), media_type.partition("/")[0], uri)


def media_in(name: str, value: Any) -> list[Medium]:
    """What can be shown of the files inside an answer's field."""
    found: list[Medium] = []
    for content in _contents(value):
        if len(found) == MAX_SHOWN:
            break
        if (each := medium(name, content)).data_uri:
            found.append(each)
    return found


def without_media(value: Any) -> Any:
    """The same value with each file inside it as a short text."""
    if _is_media(value):
        return f"{value['media_type']}, {format_bytes(len(value['data']) * 3 // 4)}"
    if isinstance(value, dict):
        return {key: without_media(item) for key, item in value.items()}
    return [without_media(item) for item in value] if isinstance(value, list) else value


def _contents(value: Any) -> Iterator[str]:
    if _is_media(value):
        yield value["data"]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _contents(item)


def _is_media(value: Any) -> bool:
    """Whether this is ``steps.serving.fields.Media`` as JSON."""
    return (
        isinstance(value, Mapping)
        and value.keys() == {"media_type", "data"}
        and all(isinstance(item, str) for item in value.values())
    )


def _media_type(data: bytes) -> str:
    if data[:4] == b"RIFF":
        return RIFF.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        return "video/mp4"
    return next((name for magic, name in MAGIC.items() if data.startswith(magic)), "")
