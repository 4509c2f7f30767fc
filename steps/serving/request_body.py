"""The body of a call, read and checked: JSON, or ``multipart/form-data`` (RFC 7578) where a task's requests hold files.

Several requests at once are a JSON list, or a form in which a file field stands more than once. BentoML's own reading is not
used: where a file field holds a text, it fetches the address in it, and in a form it takes the text ``2024`` for a number.
"""

from __future__ import annotations

import functools
import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import TypedDict

from pydantic import JsonValue, ValidationError
from pydantic_core import from_json
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest

from .accept import JSON
from .fields import file_fields
from .http_error import ErrorDetail, HttpError
from .runner import Request

MAX_BODY = 64 << 20  # bytes
MAX_JSON = 20 << 20  # bytes: 32 long texts with every character escaped. Decoded, JSON may need 20 times the memory
MAX_REQUESTS = 32  # in one call
MAX_FIELDS = 100
MULTIPART = "multipart/form-data"

Fields = dict[str, object]  # of one request, not yet checked: JSON values, and bytes where a file is sent


@dataclass(frozen=True)
class ParsedRequest:
    """One call: its requests, whether they came as a list (``many``), and the ``Accept`` header."""

    requests: list[Request]
    many: bool
    accept: str


async def read_request(request: HttpRequest, model: type[Request]) -> ParsedRequest:
    """Read a call and check each of its requests.

    Raises:
        HttpError: 415 for another media type or charset, before the body is read; 413 for a body that is too large, while it
            arrives; 400 for what cannot be read or does not fit ``model``.
    """
    media_type, _, parameters = request.headers.get("content-type", JSON).partition(";")
    media_type = media_type.strip().lower()
    files = file_fields(model)
    values: object
    if media_type == JSON:
        values = _read_json(await _read_body(request, MAX_JSON), files)
    elif media_type == MULTIPART and files:
        # Python knows many more charsets, some of which are no encoding of text or take long. Clients send UTF-8 and do not
        # say so.
        if re.search(r"charset\s*=(?!\s*\"?utf-?8\b)", parameters, re.IGNORECASE):
            raise HttpError(415, "body: forms are read as UTF-8; leave the charset out")
        values = await _read_form(request.headers, await _read_body(request, MAX_BODY), model)
    else:
        expected = f"{MULTIPART} with a file in the field {next(iter(files))}" if files else JSON
        raise HttpError(415, f"body: send {expected}, not {media_type[:100]}")
    many = isinstance(values, list)
    entries = values if isinstance(values, list) else [values]
    if not 0 < len(entries) <= MAX_REQUESTS:
        raise HttpError(400, f"body: {len(entries)} requests at once; send 1 to {MAX_REQUESTS}")
    requests = [_check(model, entry, [index] if many else []) for index, entry in enumerate(entries)]
    return ParsedRequest(requests, many, ",".join(request.headers.getlist("accept")))


async def _read_body(request: HttpRequest, limit: int) -> bytes:
    """The whole body, of at most ``limit`` bytes; a larger one is refused while it arrives."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise HttpError(413, f"body: larger than {limit} bytes")
    except ClientDisconnect:  # nobody gets this response; another exception would be logged as a failure
        raise HttpError(400, "body: the connection ended before the whole body arrived") from None
    return bytes(body)


def _read_json(body: bytes, files: Mapping[str, str]) -> JsonValue:
    """The JSON value of a body (RFC 8259); an empty body is an empty object. ``files`` are fields that JSON cannot hold."""
    values: JsonValue
    try:
        values = from_json(body or b"{}", allow_inf_nan=False)  # limits the depth and refuses lone surrogates
    except ValueError as error:
        raise HttpError(400, f"body: Invalid JSON: {error}") from None
    for entry in values if isinstance(values, list) else [values]:
        for name in files:
            if isinstance(entry, dict) and entry.get(name) is not None:
                raise HttpError(400, f"{name}: send the file itself, as {MULTIPART}")
    return values


class _FormParser(MultiPartParser):
    """Keeps files in memory, where the body is already: the service needs no place to write to."""

    spool_max_size = MAX_BODY

    def close(self) -> None:
        """Close all files, also that of a part without an end, which ``parse`` leaves open."""
        for file in self._files_to_close_on_error:
            file.close()


async def _read_form(headers: Headers, body: bytes, model: type[Request]) -> Fields | list[Fields]:
    """The fields of a form; a list of requests if a file field stands in it more than once."""
    files = file_fields(model)
    parts = await _parse_form(headers, body, max_files=len(files) * MAX_REQUESTS + 1)
    shared: Fields = {}  # by all requests of the call
    sent_files: dict[str, list[bytes]] = {}
    for name, values in parts.items():
        contents = [value for value in values if isinstance(value, bytes)]
        texts = [value for value in values if isinstance(value, str)]
        if name in files:
            if texts:
                raise HttpError(400, f"{name}: send the file itself, not its name or address")
            sent_files[name] = contents
        elif contents:
            raise HttpError(400, f"{name}: this field does not take a file")
        else:
            shared[name] = _field_value(model, name, texts)
    if len({len(contents) for contents in sent_files.values()}) > 1:
        raise HttpError(400, f"{' and '.join(sent_files)}: send as many files of one as of the other")
    count = max(map(len, sent_files.values()), default=1)
    entries = [{**shared, **{name: contents[index] for name, contents in sent_files.items()}} for index in range(count)]
    return entries if count > 1 else entries[0]


async def _parse_form(headers: Headers, body: bytes, max_files: int) -> dict[str, list[str | bytes]]:
    """The parts of a form by their names, in order: texts, and the contents of files."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parts: dict[str, list[str | bytes]] = {}
    parser = _FormParser(headers, whole(), max_files=max_files, max_part_size=MAX_BODY)
    try:
        for name, value in (await parser.parse()).multi_items():
            parts.setdefault(name, []).append(await value.read() if isinstance(value, UploadFile) else value)
    except MultiPartException as error:
        raise HttpError(400, f"body: {error.message}") from None
    finally:
        parser.close()
    return parts


class _FieldSchema(TypedDict, total=False):
    """What is read of a field's JSON schema."""

    type: str
    items: _FieldSchema
    anyOf: list[_FieldSchema]


def _field_value(model: type[Request], name: str, texts: list[str]) -> object:
    """The value that a form's texts stand for.

    A field that takes a text gets the text as it is, any other gets it read as JSON. A field that takes a list can stand in the
    form several times, once for each entry, or once as a JSON list. Elsewhere the last value counts.
    """
    schema = _field_schemas(model).get(name, {})
    choices = [schema, *schema.get("anyOf", ())]
    arrays = [choice for choice in choices if choice.get("type") == "array"]
    if not arrays:
        return texts[-1] if any(choice.get("type") == "string" for choice in choices) else _json_or_text(texts[-1])
    value = _json_or_text(texts[0])
    if len(texts) == 1 and isinstance(value, list):
        return value
    of_texts = any(array.get("items", {}).get("type") == "string" for array in arrays)
    return texts if of_texts else [_json_or_text(text) for text in texts]


@functools.cache
def _field_schemas(model: type[Request]) -> dict[str, _FieldSchema]:
    """The schemas of a request's fields. Making them takes longer than reading a form, so they are kept."""
    schemas: dict[str, _FieldSchema] = model.model_json_schema()["properties"]
    return schemas


def _json_or_text(text: str) -> JsonValue:
    value: JsonValue
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        return text
    return value


def _check(model: type[Request], entry: object, place: list[int]) -> Request:
    """One request, checked. ``place`` is its index in a list of requests, or empty."""
    if isinstance(entry, dict) and len(entry) > MAX_FIELDS:  # the error would name each of them
        raise HttpError(400, f"body: {len(entry)} fields in one request")
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        detail = [
            ErrorDetail(
                # A name that a client made up may be long.
                loc=[*place, *(each[:100] if isinstance(each, str) else each for each in problem["loc"])],
                msg=problem["msg"].removeprefix("Value error, "),
                type=problem["type"],
            )
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        text = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in detail)
        raise HttpError(400, text, detail) from None
