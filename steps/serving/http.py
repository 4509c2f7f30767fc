"""HTTP around the queue: what ``service.py`` hands to BentoML, and the responses to calls.

Several requests in one call get a list of answers in the same order. Where an answer can also be a file, the ``Accept`` header
decides; ``/stream`` answers in server-sent events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from pydantic import BaseModel, ConfigDict, JsonValue
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from .accept import JSON, prefers_file
from .fields import file_fields
from .http_error import HttpError
from .queue import QueueFull, RequestQueue
from .request_body import MULTIPART, ParsedRequest, read_request
from .runner import Answer, AnswerT, BadInput, Chunk, Request


class ParsedInput(BaseModel):
    """What BentoML passes from ``input_spec`` to the API method: its argument ``request``."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    request: ParsedRequest | HttpError


def input_spec(model: type[Request], example: Mapping[str, JsonValue]) -> type[BaseModel]:
    """The type of an API method's input as BentoML takes it: its schema for ``/docs.json``, and our own reading of calls.

    Args:
        model: The task's request.
        example: The golden request, shown in the schema.
    """
    import bentoml

    files = file_fields(model)

    class Input(bentoml.IODescriptor, model):  # type: ignore[misc, valid-type]
        @classmethod
        def mime_type(cls) -> str:
            return MULTIPART if files else JSON

        @classmethod
        def model_json_schema(cls, *arguments: object, **options: object) -> dict[str, JsonValue]:
            return {**model.model_json_schema(*arguments, **options), "title": "Request", "example": dict(example)}  # type: ignore[arg-type]

        @classmethod
        async def from_http_request(cls, request: HttpRequest, serde: object) -> ParsedInput:
            del serde
            try:
                return ParsedInput(request=await read_request(request, model))
            except HttpError as error:  # BentoML would log an exception together with the client's own values
                return ParsedInput(request=error)

    Input.multipart_fields = list(files)
    return Input


async def make_response(queue: RequestQueue[AnswerT], request: ParsedRequest | HttpError) -> Response:
    """Answer a call: with JSON, with a file, or with what was wrong with it.

    If several requests of a call fail, the first failure is reported, with its request's index. A failure that is the
    service's own is raised, and the server answers 500.
    """
    if isinstance(request, HttpError):
        return request.response()
    results = await asyncio.gather(*(queue.answer(each) for each in request.requests), return_exceptions=True)
    answers: list[Answer] = []
    for index, result in enumerate(results):
        if isinstance(result, Answer):
            answers.append(result)
        elif error := _to_http_error(result):
            return HttpError(error.status, f"{index}.{error.error}" if request.many else error.error).response()
        else:
            raise result
    if request.many:
        return Response("[" + ",".join(answer.model_dump_json() for answer in answers) + "]", media_type=JSON)
    [answer] = answers
    if answer.file_type and prefers_file(request.accept, answer.file_type, answer.file_first):
        return Response(answer.file(), media_type=answer.file_type)
    return Response(answer.model_dump_json(), media_type=JSON)


def _to_http_error(error: BaseException) -> HttpError | None:
    """What a client is told of a failure; None for one that is the service's own."""
    if isinstance(error, BadInput):
        return HttpError(400, str(error))
    if isinstance(error, QueueFull):
        return HttpError(503, "busy: too many requests wait; try again later")
    # torch raises a RuntimeError with this text.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):
        return HttpError(413, "body: there is not enough memory to answer a request of this size")
    return None


async def stream_response(queue: RequestQueue[AnswerT], request: ParsedRequest | HttpError) -> Response:
    """Answer a call as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

    Each chunk is an event without a name. The whole answer comes last, as the event ``done``; a failure after the first chunk
    ends the connection without it.
    """
    if isinstance(request, HttpError):
        return request.response()
    if request.many:
        return HttpError(400, "body: one request at a time can be streamed").response()
    chunks = queue.stream(request.requests[0])
    try:
        first = await anext(chunks)  # what is wrong with a request shows here, while the status can still say so
    except Exception as error:
        if http_error := _to_http_error(error):
            return http_error.response()
        raise
    return _EventStream(first, chunks)


class _EventStream(StreamingResponse):
    """The chunks of an answer as server-sent events. However it ends, also if the client leaves, the chunks are closed."""

    def __init__(self, first: Answer, chunks: AsyncGenerator[Chunk | AnswerT, None]) -> None:
        self._chunks = chunks
        super().__init__(self._events(first), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async def _events(self, first: Answer) -> AsyncIterator[str]:
        yield _event(first)
        async for chunk in self._chunks:
            yield _event(chunk)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._chunks.aclose()


def _event(answer: Answer) -> str:
    """One event. A JSON document of pydantic has no line breaks, so it is one ``data`` line."""
    name = "" if isinstance(answer, Chunk) else "event: done\n"
    return f"{name}data: {answer.model_dump_json()}\n\n"
