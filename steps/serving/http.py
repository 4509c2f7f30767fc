"""HTTP around the runner: how requests are read, and how answers are written.

A request is JSON, or ``multipart/form-data`` where a file is sent. Several at once, a JSON list or one file field given more
than once, get a list of answers in the same order. BentoML's own reading is not used: it fetches the address when a file field
holds a text, and takes the text ``2024`` in a form for a number.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.requests import Request as Http
from starlette.responses import JSONResponse, Response, StreamingResponse

from .fields import file_fields
from .queue import QueueFull, RequestQueue
from .runner import Answer, BadInput, Chunk, Request

MAX_BODY = 64 << 20  # bytes
MAX_JSON = 20 << 20  # 32 long texts with every character escaped; what JSON says may need 20 times the memory
MAX_REQUESTS = 32
MAX_FIELDS = 100
JSON = "application/json"
MULTIPART = "multipart/form-data"


class HttpError(Exception):
    """The call gets this status; ``error`` says what to change, ``detail`` has an entry for each field that is wrong."""

    def __init__(self, status: int, error: str, detail: list[dict[str, Any]] | None = None) -> None:
        super().__init__(error)
        self.status, self.error, self.detail = status, error, detail or []

    def response(self) -> Response:
        return JSONResponse({"error": self.error, "detail": self.detail}, self.status)


@dataclass(frozen=True)
class ParsedRequest:
    """One call, read: its requests, whether they came as a list (``many``), and the kind of answer it accepts."""

    requests: list[Request]
    many: bool
    accept: str


class ParsedInput(BaseModel):
    """What goes through BentoML to the API method: the field ``request``."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    request: ParsedRequest | HttpError


def describe(model: type[Request], example: dict[str, Any]) -> Any:
    """A request's type as BentoML wants it, for its OpenAPI document; reading it is our own."""
    import bentoml

    files = file_fields(model)

    class Input(bentoml.IODescriptor, model):  # type: ignore[misc, valid-type]
        @classmethod
        def mime_type(cls) -> str:
            return MULTIPART if files else JSON

        @classmethod
        def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
            return {**model.model_json_schema(*arguments, **options), "title": "Request", "example": example}

        @classmethod
        async def from_http_request(cls, request: Http, serde: Any) -> ParsedInput:
            del serde
            try:
                return ParsedInput(request=await read(request, model))
            except HttpError as refusal:  # raised, it would be logged with the client's own values
                return ParsedInput(request=refusal)

    Input.multipart_fields = list(files)
    return Input


async def read(request: Http, model: type[Request]) -> ParsedRequest:
    """One call's requests, each checked. Raises ``HttpError``."""
    kind, _, parameters = request.headers.get("content-type", JSON).partition(";")
    kind = kind.strip().lower()
    files = file_fields(model)
    match kind:
        case "application/json":
            values = _read_json(await _body(request, MAX_JSON), files)
        case "multipart/form-data" if files:
            # Python knows many more, some of which make no text of it or take long; clients send UTF-8 and do not say so.
            if re.search(r"charset\s*=(?!\s*\"?utf-?8\b)", parameters, re.IGNORECASE):
                raise HttpError(415, "body: forms are read as UTF-8; leave the charset out")
            values = await _read_form(request.headers, await _body(request, MAX_BODY), model)
        case _:
            wanted = f"{MULTIPART} with a file in the field {next(iter(files))}" if files else JSON
            raise HttpError(415, f"body: send {wanted}, not {kind[:100]}")
    many = isinstance(values, list)
    entries = values if isinstance(values, list) else [values]
    if not 0 < len(entries) <= MAX_REQUESTS:
        raise HttpError(400, f"body: {len(entries)} requests at once; send 1 to {MAX_REQUESTS}")
    requests = [_check(model, entry, [index] if many else []) for index, entry in enumerate(entries)]
    return ParsedRequest(requests, many, ",".join(request.headers.getlist("accept")))


async def _body(request: Http, most: int) -> bytes:
    """The whole body; one that is too large is refused while it arrives."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise HttpError(413, f"body: larger than {most} bytes")
    except ClientDisconnect:  # nobody reads this; raised, it would be logged as a failure
        raise HttpError(400, "body: the connection ended before all of it came") from None
    return bytes(body)


def _read_json(body: bytes, files: dict[str, str]) -> Any:
    try:
        values = from_json(body or b"{}", allow_inf_nan=False)  # bounded depth, and no halves of characters
    except ValueError as error:
        raise HttpError(400, f"body: Invalid JSON: {error}") from None
    for entry in values if isinstance(values, list) else [values]:
        for name in files:
            if isinstance(entry, dict) and entry.get(name) is not None:
                raise HttpError(400, f"{name}: send the file itself, as {MULTIPART}")
    return values


class _Parser(MultiPartParser):
    """Keeps files in memory, where the body is already: the service needs no place to write to."""

    spool_max_size = MAX_BODY

    def close(self) -> None:
        """Also the file of a part that has no end, which ``parse`` leaves open."""
        for file in self._files_to_close_on_error:
            file.close()


async def _read_form(headers: Headers, body: bytes, model: type[Request]) -> Any:
    """A form's fields; a list of them if one file field was given more than once."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    files = file_fields(model)
    most = len(files) * MAX_REQUESTS + 1
    sent: dict[str, list[Any]] = {}
    parser = _Parser(headers, whole(), max_files=most, max_part_size=MAX_BODY)
    try:
        for name, value in (await parser.parse()).multi_items():
            sent.setdefault(name, []).append(await value.read() if isinstance(value, UploadFile) else value)
    except MultiPartException as error:
        raise HttpError(400, f"body: {error.message}") from None
    finally:
        parser.close()
    values: dict[str, Any] = {}
    for name, parts in sent.items():
        if name in files:
            if not all(isinstance(part, bytes) for part in parts):
                raise HttpError(400, f"{name}: send the file itself, not its name or address")
        elif not all(isinstance(part, str) for part in parts):
            raise HttpError(400, f"{name}: this field holds no file")
        else:
            values[name] = _value(model, name, parts)
    lengths = {len(parts) for name, parts in sent.items() if name in files}
    if len(lengths) > 1:
        raise HttpError(
            400, f"{' and '.join(name for name in sent if name in files)}: send as many files of one as of the other"
        )
    entries = [
        {**values, **{name: parts[index] for name, parts in sent.items() if name in files}}
        for index in range(max(lengths, default=1))
    ]
    return entries if len(entries) > 1 else entries[0]


def _value(model: type[Request], name: str, parts: list[str]) -> Any:
    """What a form's texts mean for a field: a text itself where a text is meant, else JSON; a repeated field is a list."""
    schema = _properties(model).get(name, {})
    kinds = {schema.get("type"), *(choice.get("type") for choice in schema.get("anyOf", ()))}
    if "array" not in kinds:
        return parts[-1] if "string" in kinds else _json_or_text(parts[-1])
    value = _json_or_text(parts[0])
    if len(parts) == 1 and isinstance(value, list):
        return value
    arrays = [choice for choice in (schema, *schema.get("anyOf", ())) if choice.get("type") == "array"]
    texts = any(array.get("items", {}).get("type") == "string" for array in arrays)
    return parts if texts else [_json_or_text(part) for part in parts]


@functools.cache
def _properties(model: type[Request]) -> dict[str, Any]:
    """The schemas of a request's fields; making them takes longer than reading a form."""
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


def _json_or_text(text: str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return text


def _check(model: type[Request], entry: Any, place: list[int]) -> Request:
    if isinstance(entry, dict) and len(entry) > MAX_FIELDS:  # each would be complained of
        raise HttpError(400, f"body: {len(entry)} fields in one request")
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        detail = [
            {
                "loc": [*place, *(_short(each) for each in problem["loc"])],
                "msg": problem["msg"].removeprefix("Value error, "),
                "type": problem["type"],
            }
            for problem in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        said = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in detail)
        raise HttpError(400, said, detail) from None


def _short(place: int | str) -> int | str:
    """A name that a client made up may be long."""
    return place[:100] if isinstance(place, str) else place


async def make_response(queue: RequestQueue, request: ParsedRequest | HttpError) -> Response:
    """Answer a call."""
    if isinstance(request, HttpError):
        return request.response()
    results = await asyncio.gather(*(_one(queue, each) for each in request.requests), return_exceptions=True)
    for index, result in enumerate(results):
        if isinstance(result, HttpError):
            return HttpError(result.status, f"{index}.{result.error}" if request.many else result.error).response()
        if isinstance(result, BaseException):
            raise result
    answers = [result for result in results if isinstance(result, Answer)]
    if request.many:
        return Response("[" + ",".join(answer.model_dump_json() for answer in answers) + "]", media_type=JSON)
    [answer] = answers
    if answer.file_type and prefers_file(request.accept, answer.file_type, answer.file_first):
        return Response(answer.file(), media_type=answer.file_type)
    return Response(answer.model_dump_json(), media_type=JSON)


async def _one(queue: RequestQueue, request: Request) -> Answer:
    """The answer to one request, its failure as a refusal."""
    try:
        return await queue.answer(request)
    except Exception as error:
        raise _refusal(error) or error from None


def _refusal(error: Exception) -> HttpError | None:
    """What a client is told of a failure that is not the service's own."""
    if isinstance(error, BadInput):
        return HttpError(400, str(error))
    if isinstance(error, QueueFull):
        return HttpError(503, "busy: too many requests wait; try again later")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):  # torch's word
        return HttpError(413, "body: there is not enough memory to answer a request of this size")
    return None


class _Events(StreamingResponse):
    """Server-sent events of an answer's chunks. However it ends, also by the client's leaving, the chunks are closed."""

    def __init__(self, first: Answer, chunks: AsyncGenerator[Answer, None]) -> None:
        self._chunks = chunks
        super().__init__(self._events(first), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _events(self, first: Answer) -> AsyncIterator[str]:
        yield _event(first)
        async for chunk in self._chunks:
            yield _event(chunk)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._chunks.aclose()


def _event(chunk: Answer) -> str:
    name = "" if isinstance(chunk, Chunk) else "event: done\n"
    return f"{name}data: {chunk.model_dump_json()}\n\n"


async def stream_response(queue: RequestQueue, request: ParsedRequest | HttpError) -> Response:
    """Answer a call as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Each chunk is an event without a name; the whole answer comes last, as the event ``done``. A failure after the first
    chunk ends the connection without it.
    """
    if isinstance(request, HttpError):
        return request.response()
    if request.many:
        return HttpError(400, "body: one request at a time can be streamed").response()
    chunks = queue.stream(request.requests[0])
    try:
        first = await anext(chunks)  # what is wrong with a request shows here, while the status can still say so
    except Exception as error:
        if refusal := _refusal(error):
            return refusal.response()
        raise
    return _Events(first, chunks)


def prefers_file(accept: str, file_type: str, file_first: bool) -> bool:
    """Which of JSON and a file an ``Accept`` header prefers (RFC 9110, section 12.5.1)."""
    weights = {file_type: 0.0, JSON: 0.0}
    named: dict[str, int] = {}
    for part in (accept or "*/*").split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        quality = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            weight = float(quality)
        except ValueError:
            continue
        for offer in weights:
            closeness = [offer, f"{offer.partition('/')[0]}/*", "*/*"]
            if kind in closeness and closeness.index(kind) <= named.get(offer, 2):
                named[offer] = closeness.index(kind)
                weights[offer] = weight
    if weights[file_type] == weights[JSON]:
        return file_first
    return weights[file_type] > weights[JSON]
