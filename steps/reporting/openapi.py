"""The request and the response of ``POST /predict`` as rows of a table, from the service's own OpenAPI 3 document.

The document is whatever the booted service said, so its shape is not trusted: what is not as it should be is left out, and
references (``#/components/schemas/Label``) are followed only so far.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from steps.core.text import display_text

MAX_DEPTH = 5
MAX_ROWS = 60
PATH = "/predict"
PLURALS = {
    "object": "objects",
    "text": "texts",
    "number": "numbers",
    "integer": "integers",
    "list of numbers": "lists of numbers",
}


@dataclass(frozen=True)
class Row:
    """One field; a field of the entries of a list is called ``labels[].score``."""

    name: str
    type: str
    need: str
    description: str


@dataclass(frozen=True)
class Schema:
    media_type: str
    rows: list[Row]


def request_schema(document: dict[str, Any]) -> Schema | None:
    return _schema(document, "requestBody")


def response_schema(document: dict[str, Any]) -> Schema | None:
    return _schema(document, "responses", "200")


def _schema(document: dict[str, Any], *where: str) -> Schema | None:
    content = _down(document, "paths", PATH, "post", *where, "content")
    for media_type in content:
        rows = list(islice(_rows(document, _down(content, media_type, "schema"), "", MAX_DEPTH), MAX_ROWS))
        if rows:
            return Schema(display_text(media_type, 60), rows)
    return None


def _down(value: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _rows(document: dict[str, Any], schema: dict[str, Any], prefix: str, depth: int) -> Iterator[Row]:
    schema = _resolved(document, schema)
    required = schema.get("required")
    for name, value in _down(schema, "properties").items():
        field = _resolved(document, value)
        if name in (required if isinstance(required, list) else []):
            need = "required"
        else:
            need = (
                display_text(f"default {json.dumps(field['default'], ensure_ascii=False)}", 60)
                if "default" in field
                else "optional"
            )
        text = (value.get("description") if isinstance(value, dict) else "") or field.get("description") or ""
        yield Row(
            display_text(prefix + name, 120), display_text(_type(document, field, depth), 160), need, display_text(text, 300)
        )
        if depth > 0:
            inner = _resolved(document, field.get("items")) if field.get("type") == "array" else field
            yield from _rows(document, inner, f"{prefix}{name}{'[]' if inner is not field else ''}.", depth - 1)


def _resolved(document: dict[str, Any], schema: Any) -> dict[str, Any]:
    for _ in range(MAX_DEPTH):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str):
            break
        schema = _down(document, *reference.removeprefix("#/").split("/"))
    return schema if isinstance(schema, dict) else {}


def _type(document: dict[str, Any], schema: Any, depth: int) -> str:
    """A type in words: ``list of objects``, ``integer or null``, ``"none" | "mean"``, with its limits."""
    schema = _resolved(document, schema)
    if isinstance(schema.get("enum"), list):
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"][:12])
    choices = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(choices, list) and depth > 0:
        return " or ".join(_type(document, choice, depth - 1) for choice in choices[:6])
    kind = schema.get("type")
    if schema.get("format") in ("binary", "image") or kind == "file":
        return "file"
    if kind == "array" and depth > 0:
        inner = _type(document, schema.get("items"), depth - 1)
        return f"list of {PLURALS.get(inner, inner)}"
    words = {"object": "object", "string": "text"}.get(str(kind), str(kind or "anything"))
    for low, high, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        limits = [f"{schema[key]:,}" if _is_number(schema.get(key)) else "" for key in (low, high)]
        if all(limits):
            return f"{words}, {' to '.join(limits)}{unit}"
        if any(limits):
            return f"{words}, {'at least' if limits[0] else 'at most'} {''.join(limits)}{unit}"
    return words


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
