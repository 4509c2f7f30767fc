"""The request and the response of ``POST /predict`` as tables, from the service's own OpenAPI 3 document.

https://spec.openapis.org/oas/v3.0.3. The document is whatever the started service answered, so its structure is not trusted:
what is not as it should be is left out, and references (``#/components/schemas/Label``) are followed a few levels deep only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeGuard

from pydantic import JsonValue

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

JsonObject = dict[str, JsonValue]


@dataclass(frozen=True)
class ApiField:
    """One row of a table.

    Attributes:
        name: The field's name; a field of the entries of a list is called ``labels[].score``.
        type: Its type in words.
        requirement: ``required``, ``optional``, or the default.
        description: What the schema says of it.
    """

    name: str
    type: str
    requirement: str
    description: str


@dataclass(frozen=True)
class ApiTable:
    """The fields of a request or a response of one media type."""

    media_type: str
    rows: list[ApiField]


def request_table(document: Mapping[str, JsonValue]) -> ApiTable | None:
    """Return the fields of the request; None where the document does not describe it."""
    return _table(document, "requestBody")


def response_table(document: Mapping[str, JsonValue]) -> ApiTable | None:
    """Return the fields of the response with status 200; None where the document does not describe it."""
    return _table(document, "responses", "200")


def _table(document: Mapping[str, JsonValue], *path: str) -> ApiTable | None:
    content = _descend(document, "paths", PATH, "post", *path, "content")
    for media_type in content:
        rows = list(islice(_rows(document, _descend(content, media_type, "schema"), "", MAX_DEPTH), MAX_ROWS))
        if rows:
            return ApiTable(display_text(media_type, 60), rows)
    return None


def _descend(value: Mapping[str, JsonValue], *keys: str) -> JsonObject:
    """The object at the end of a path of keys; empty where there is none."""
    found: object = value
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _rows(document: Mapping[str, JsonValue], schema: JsonObject, prefix: str, depth: int) -> Iterator[ApiField]:
    schema = _resolve(document, schema)
    required = schema.get("required")
    for name, value in _descend(schema, "properties").items():
        field = _resolve(document, value)
        if name in (required if isinstance(required, list) else []):
            requirement = "required"
        elif "default" in field:
            requirement = display_text(f"default {json.dumps(field['default'], ensure_ascii=False)}", 60)
        else:
            requirement = "optional"
        text = (value.get("description") if isinstance(value, dict) else "") or field.get("description") or ""
        yield ApiField(
            display_text(prefix + name, 120),
            display_text(_type(document, field, depth), 160),
            requirement,
            display_text(text, 300),
        )
        if depth > 0:
            inner = _resolve(document, field.get("items")) if field.get("type") == "array" else field
            yield from _rows(document, inner, f"{prefix}{name}{'[]' if inner is not field else ''}.", depth - 1)


def _resolve(document: Mapping[str, JsonValue], schema: JsonValue) -> JsonObject:
    """The schema, or the one that it refers to."""
    for _ in range(MAX_DEPTH):
        reference = schema.get("$ref") if isinstance(schema, dict) else None
        if not isinstance(reference, str):
            break
        schema = _descend(document, *reference.removeprefix("#/").split("/"))
    return schema if isinstance(schema, dict) else {}


def _type(document: Mapping[str, JsonValue], schema: JsonValue, depth: int) -> str:
    """A type in words: ``list of objects``, ``integer or null``, ``"none" | "mean"``, with its limits."""
    schema = _resolve(document, schema)
    values = schema.get("enum")
    if isinstance(values, list):
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in values[:12])
    choices = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(choices, list) and depth > 0:
        return " or ".join(_type(document, choice, depth - 1) for choice in choices[:6])
    kind = schema.get("type")
    if schema.get("format") in ("binary", "image") or kind == "file":
        return "file"
    if kind == "array" and depth > 0:
        inner = _type(document, schema.get("items"), depth - 1)
        return f"list of {PLURALS.get(inner, inner)}"
    text = {"object": "object", "string": "text"}.get(str(kind), str(kind or "anything"))
    for low, high, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        limits = [f"{limit:,}" if _is_number(limit := schema.get(key)) else "" for key in (low, high)]
        if all(limits):
            return f"{text}, {' to '.join(limits)}{unit}"
        if any(limits):
            return f"{text}, {'at least' if limits[0] else 'at most'} {''.join(limits)}{unit}"
    return text


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, int | float)
