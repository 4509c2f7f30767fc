"""Server-sent events over the queue: what is sent, in which order, and what becomes of the model when nobody listens."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from steps.serving import runner
from steps.serving.http import stream_response
from steps.serving.queue import MAX_WAITING, RequestQueue
from steps.serving.request_body import ParsedRequest


class Request(runner.Request):
    number: int


class Answer(runner.Answer):
    number: int


class Chunk(runner.Chunk):
    number: int


class Counter(runner.StreamingRunner[Request, Answer]):
    """Counts up to a number, which is the whole answer. ``fail`` raises that before the first piece, or after it."""

    def __init__(self, folder: Path = Path(), *, fail: Exception | None = None, late: bool = False) -> None:
        self.fail, self.late = fail, late
        self.closed = threading.Event()

    def predict(self, request: Request) -> Answer:
        return Answer(number=request.number)

    def stream(self, request: Request) -> Generator[Chunk | Answer, None, None]:
        try:
            for number in range(request.number):
                if self.fail and number == self.late:
                    raise self.fail
                yield Chunk(number=number)
            yield Answer(number=request.number)
        finally:
            self.closed.set()


class Client:
    """The other end of ASGI: keeps what it is sent, and leaves after ``stays`` events."""

    def __init__(self, stays: int = 10**9, spec_version: str = "2.3") -> None:
        self.scope = {"type": "http", "asgi": {"spec_version": spec_version}}
        self.messages: list[Any] = []
        self._stays, self._left = stays, asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self._left.is_set():
            raise OSError("the client has left")
        self.messages.append(message)
        if len(self.messages) > self._stays:
            self._left.set()
            await asyncio.sleep(0)

    @property
    def events(self) -> list[tuple[str, Any]]:
        text = b"".join(message.get("body", b"") for message in self.messages).decode()
        return [read(event) for event in text.split("\n\n") if event]


def read(event: str) -> tuple[str, Any]:
    fields = dict(line.split(": ", 1) for line in event.splitlines())
    return fields.get("event", "message"), json.loads(fields["data"])


async def call(queue: RequestQueue[Answer], number: int, client: Client) -> int:
    response = await stream_response(queue, ParsedRequest([Request(number=number)], False, ""))
    await response(client.scope, client.receive, client.send)
    return response.status_code


def test_chunks_are_events_and_the_answer_last() -> None:
    async def scene() -> None:
        client = Client()
        assert await call(RequestQueue(Counter(), batch=1), 3, client) == 200
        headers = dict(client.messages[0]["headers"])
        assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
        assert headers[b"cache-control"] == b"no-store"
        pieces = [("message", {"number": number}) for number in range(3)]
        assert client.events == [*pieces, ("done", {"number": 3})]

    asyncio.run(asyncio.wait_for(scene(), 20))


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])  # a server tells of the leaving, or lets sending fail
@pytest.mark.parametrize("stays", [1, 5])
def test_a_client_that_leaves_stops_the_model(stays: int, spec_version: str) -> None:
    async def scene() -> None:
        counter = Counter()
        queue = RequestQueue(counter, batch=1)
        client = Client(stays, spec_version)
        await asyncio.gather(call(queue, 10**9, client), return_exceptions=True)
        assert await asyncio.to_thread(counter.closed.wait, 20)
        assert len(client.events) == stays
        assert (await queue.answer(Request(number=1))).number == 1

    asyncio.run(asyncio.wait_for(scene(), 20))


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (runner.BadInput("number: too odd"), 400, "number: too odd"),
        (MemoryError(), 413, "body: there is not enough memory to answer a request of this size"),
    ],
)
def test_early_errors_have_a_status(error: Exception, status: int, said: str) -> None:
    async def scene() -> None:
        client = Client()
        assert await call(RequestQueue(Counter(fail=error), batch=1), 3, client) == status
        assert json.loads(client.messages[-1]["body"])["error"] == said

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_a_later_failure_sends_no_done_event() -> None:
    async def scene() -> None:
        client = Client()
        with pytest.raises(ZeroDivisionError):
            await call(RequestQueue(Counter(fail=ZeroDivisionError(), late=True), batch=1), 3, client)
        assert not client.messages[-1].get("body") or client.messages[-1]["more_body"]
        assert "done" not in [name for name, _ in client.events]

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_a_stream_is_refused_by_a_full_queue() -> None:
    async def scene() -> None:
        queue = RequestQueue(Counter(), batch=1)
        waiting = [asyncio.create_task(queue.answer(Request(number=number))) for number in range(MAX_WAITING)]
        await asyncio.sleep(0)
        client = Client()
        assert await call(queue, 3, client) == 503
        assert len(await asyncio.gather(*waiting)) == MAX_WAITING

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_several_at_once_cannot_be_streamed() -> None:
    async def scene() -> None:
        response = await stream_response(RequestQueue(Counter(), batch=1), ParsedRequest([Request(number=1)], True, ""))
        assert response.status_code == 400

    asyncio.run(asyncio.wait_for(scene(), 20))
