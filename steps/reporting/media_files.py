"""Images, sounds and videos that a page can hold in itself: those of the golden request, and those inside answers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import JsonValue

from steps.core.text import display_text, format_bytes

# The media type of a file by its first bytes. "RIFF" and "ftyp" files name their type behind their length.
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
class MediaFile:
    """A file of a request or an answer.

    Attributes:
        name: The field that holds it.
        kind: ``image``, ``audio`` or ``video``; empty for what cannot be shown.
        data_uri: The content (RFC 2397); empty for what cannot be shown.
    """

    name: str
    kind: str
    data_uri: str


def media_file(name: str, content: str) -> MediaFile:
    """Return the file with this base64 content; only what is of a known type and small can be shown."""
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    media_type = _media_type(data) if len(data) <= MAX_BYTES else ""
    uri = f"data:{media_type};base64,{base64.b64encode(data).decode()}" if media_type else ""
    return MediaFile(display_text(name, 60), media_type.partition("/")[0], uri)


def find_media(name: str, value: JsonValue) -> list[MediaFile]:
    """Return what can be shown of the files inside an answer's field."""
    found: list[MediaFile] = []
    for content in _contents(value):
        if len(found) == MAX_SHOWN:
            break
        if (file := media_file(name, content)).data_uri:
            found.append(file)
    return found


def describe_media(value: JsonValue) -> JsonValue:
    """Return the same value with a short text in the place of each file: ``image/png, 12 kB``."""
    if media := _media(value):
        media_type, data = media
        return f"{media_type}, {format_bytes(len(data) * 3 // 4)}"
    if isinstance(value, dict):
        return {key: describe_media(item) for key, item in value.items()}
    return [describe_media(item) for item in value] if isinstance(value, list) else value


def _contents(value: JsonValue) -> Iterator[str]:
    if media := _media(value):
        yield media[1]
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _contents(item)


def _media(value: JsonValue) -> tuple[str, str] | None:
    """Media type and data, where the value is ``steps.serving.fields.Media`` as JSON."""
    if not isinstance(value, dict) or value.keys() != {"media_type", "data"}:
        return None
    media_type, data = value["media_type"], value["data"]
    return (media_type, data) if isinstance(media_type, str) and isinstance(data, str) else None


def _media_type(data: bytes) -> str:
    if data[:4] == b"RIFF":
        return RIFF.get(data[8:12], "")
    if data[4:8] == b"ftyp":
        return "video/mp4"
    return next((name for magic, name in MAGIC.items() if data.startswith(magic)), "")
