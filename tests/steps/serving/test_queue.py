"""The queue in front of the model: batches grow under load, order is kept, and nobody pays for another's request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from steps.serving import runner
from steps.serving.queue import MAX_BATCHED_LENGTH, MAX_LENGTH_DIFFERENCE, MAX_WAITING, QueueFull, RequestQueue


class Request(runner.Request):
    number: int


class Answer(runner.Answer):
    number: int


class Chunk(runner.Chunk):
    number: int


class Doubler(runner.StreamingRunner[Request, Answer]):
    """Doubles numbers, and refuses negative ones. It works while ``gate`` is open, and keeps what it was asked at once."""

    def __init__(self, folder: Path = Path()) -> None:
        self.gate = threading.Event()
        self.asked: list[list[int]] = []
        self.threads: set[str] = set()
        self.begun = threading.Semaphore(0)
        self.closed = threading.Event()

    def predict(self, request: Request) -> Answer:
        return self._answer([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        return self._answer(requests)

    def _answer(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked.append([request.number for request in requests])
        self.threads.add(threading.current_thread().name)
        self.begun.release()
        assert self.gate.wait(20)
        if any(request.number < 0 for request in requests):
            raise runner.BadInput("number: it is negative")
        return [Answer(number=2 * request.number) for request in requests]

    def stream(self, request: Request) -> Generator[Chunk | Answer, None, None]:
        try:
            if request.number < 0:
                raise runner.BadInput("number: it is negative")
            for number in range(request.number):
                yield Chunk(number=number)
                if number == 1:
                    self.begun.release()
                    assert self.gate.wait(20)
            if request.number == 13:
                raise StopIteration  # what a forgotten default of next() does; Python makes a RuntimeError of it
            yield Answer(number=2 * request.number)
        finally:
            self.closed.set()


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scene, 20))


async def until(semaphore: threading.Semaphore) -> None:
    assert await asyncio.to_thread(semaphore.acquire, timeout=20)


def test_requests_that_arrive_meanwhile_are_a_batch() -> None:
    async def scene() -> None:
        doubler = Doubler()
        queue = RequestQueue(doubler, batch=4)
        answers = [asyncio.create_task(queue.answer(Request(number=0)))]
        await until(doubler.begun)
        answers += [asyncio.create_task(queue.answer(Request(number=number))) for number in range(1, 7)]
        await asyncio.sleep(0)
        doubler.gate.set()
        assert [answer.number for answer in await asyncio.gather(*answers)] == [0, 2, 4, 6, 8, 10, 12]
        assert doubler.asked == [[0], [1, 2, 3, 4], [5, 6]]
        assert len(doubler.threads) == 1

    run(scene())


class TextRequest(Request):
    text: str


class Writing(TextRequest):
    max_new_tokens: int | None = None


@pytest.mark.parametrize(
    ("kind", "lengths", "asked"),
    [
        (
            TextRequest,
            [80, 80 + MAX_LENGTH_DIFFERENCE, 81 + MAX_LENGTH_DIFFERENCE, 80 - MAX_LENGTH_DIFFERENCE, 90],
            [[1, 2, 4, 5], [3]],
        ),
        (TextRequest, [400, 10, 400, 20, 400, 30, 400], [[1, 3, 5, 7], [2, 4, 6]]),
        (
            TextRequest,
            [MAX_BATCHED_LENGTH, MAX_BATCHED_LENGTH, MAX_BATCHED_LENGTH - 1, MAX_BATCHED_LENGTH - 1],
            [[1], [2], [3, 4]],
        ),
        (Writing, [10, MAX_BATCHED_LENGTH, 3 * MAX_LENGTH_DIFFERENCE, 10 * MAX_BATCHED_LENGTH, 20], [[1, 2, 3, 4], [5]]),
    ],
    ids=["near", "the oldest first", "long", "writing"],
)
def test_texts_of_similar_length_are_a_batch(kind: type[TextRequest], lengths: list[int], asked: list[list[int]]) -> None:
    async def scene() -> None:
        doubler = Doubler()
        queue = RequestQueue(doubler, batch=4)
        answers = [asyncio.create_task(queue.answer(Request(number=0)))]
        await until(doubler.begun)
        for number, length in enumerate(lengths, 1):
            answers.append(asyncio.create_task(queue.answer(kind(number=number, text="a" * length))))
        await asyncio.sleep(0)
        doubler.gate.set()
        assert [answer.number for answer in await asyncio.gather(*answers)] == [2 * number for number in range(len(answers))]
        assert doubler.asked == [[0], *asked]

    run(scene())


def test_a_batch_size_of_one_is_kept() -> None:
    async def scene() -> None:
        doubler = Doubler()
        doubler.gate.set()
        queue = RequestQueue(doubler, batch=1)
        answers = await asyncio.gather(*(queue.answer(Request(number=number)) for number in range(50)))
        assert [answer.number for answer in answers] == [2 * number for number in range(50)]
        assert doubler.asked == [[number] for number in range(50)]

    run(scene())


def test_a_failing_request_fails_no_other() -> None:
    async def scene() -> None:
        doubler = Doubler()
        queue = RequestQueue(doubler, batch=8)
        first = asyncio.create_task(queue.answer(Request(number=0)))
        await until(doubler.begun)
        rest = [asyncio.create_task(queue.answer(Request(number=number))) for number in (1, -2, 3)]
        await asyncio.sleep(0)
        doubler.gate.set()
        await first
        good, bad, other = await asyncio.gather(*rest, return_exceptions=True)
        assert (good, other) == (Answer(number=2), Answer(number=6))
        assert isinstance(bad, runner.BadInput)
        assert doubler.asked == [[0], [1, -2, 3], [1], [-2], [3]]
        assert (await queue.answer(Request(number=5))).number == 10

    run(scene())


def test_a_client_that_leaves_is_not_answered() -> None:
    async def scene() -> None:
        doubler = Doubler()
        queue = RequestQueue(doubler, batch=8)
        first = asyncio.create_task(queue.answer(Request(number=0)))
        await until(doubler.begun)
        rest = [asyncio.create_task(queue.answer(Request(number=number))) for number in (1, 2, 3)]
        await asyncio.sleep(0)
        rest[1].cancel()
        await asyncio.sleep(0)
        doubler.gate.set()
        answers = await asyncio.gather(first, *rest, return_exceptions=True)
        assert [getattr(answer, "number", None) for answer in answers] == [0, 2, None, 6]
        assert doubler.asked == [[0], [1, 3]]

    run(scene())


def test_leaving_a_running_batch_keeps_other_answers() -> None:
    async def scene() -> None:
        doubler = Doubler()
        queue = RequestQueue(doubler, batch=8)
        first = asyncio.create_task(queue.answer(Request(number=0)))
        await until(doubler.begun)
        second = asyncio.create_task(queue.answer(Request(number=1)))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        doubler.gate.set()
        assert (await second).number == 2
        assert doubler.asked == [[0], [1]]

    run(scene())


def test_a_full_queue_refuses_until_clients_leave() -> None:
    async def scene() -> None:
        doubler = Doubler()
        queue = RequestQueue(doubler, batch=64)
        first = asyncio.create_task(queue.answer(Request(number=0)))
        await until(doubler.begun)
        waiting = [asyncio.create_task(queue.answer(Request(number=number))) for number in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await queue.answer(Request(number=1))
        with pytest.raises(QueueFull):
            await anext(queue.stream(Request(number=1)))
        waiting[7].cancel()
        await asyncio.sleep(0)
        late = asyncio.create_task(queue.answer(Request(number=1000)))
        await asyncio.sleep(0)
        doubler.gate.set()
        assert (await late).number == 2000
        await asyncio.gather(first, *waiting, return_exceptions=True)
        assert (await queue.answer(Request(number=1))).number == 2

    run(scene())


class Wrong(Doubler):
    """Breaks the rules for runners."""

    def predict(self, request: Request) -> Answer:
        raise StopIteration

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        return super().predict_all(requests)[1:]


def test_a_faulty_runner_still_ends_all_requests() -> None:
    async def scene() -> None:
        wrong = Wrong()
        wrong.gate.set()
        queue = RequestQueue(wrong, batch=4)
        answers = await asyncio.gather(*(queue.answer(Request(number=1)) for _ in range(5)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [RuntimeError] * 5

    run(scene())


def test_a_stream_goes_alone_and_in_its_turn() -> None:
    async def scene() -> None:
        doubler = Doubler()
        queue = RequestQueue(doubler, batch=8)

        async def pieces() -> list[int]:
            return [piece.number async for piece in queue.stream(Request(number=3)) if isinstance(piece, Chunk | Answer)]

        first = asyncio.create_task(queue.answer(Request(number=0)))
        await until(doubler.begun)
        before = asyncio.create_task(queue.answer(Request(number=1)))
        streamed = asyncio.create_task(pieces())
        after = asyncio.create_task(queue.answer(Request(number=2)))
        await asyncio.sleep(0)
        doubler.gate.set()
        assert await streamed == [0, 1, 2, 6]
        assert [answer.number for answer in await asyncio.gather(first, before, after)] == [0, 2, 4]
        assert doubler.asked == [[0], [1], [2]]

    run(scene())


def test_chunks_arrive_while_the_model_works() -> None:
    async def scene() -> None:
        doubler = Doubler()
        pieces = RequestQueue(doubler, batch=1).stream(Request(number=4))
        assert await anext(pieces) == Chunk(number=0)
        assert await anext(pieces) == Chunk(number=1)
        await until(doubler.begun)  # it cannot go on
        doubler.gate.set()
        assert [piece async for piece in pieces] == [Chunk(number=2), Chunk(number=3), Answer(number=8)]

    run(scene())


def test_a_slow_reader_delays_no_other_request() -> None:
    async def scene() -> None:
        doubler = Doubler()
        doubler.gate.set()
        queue = RequestQueue(doubler, batch=1)
        pieces = queue.stream(Request(number=3))
        assert await anext(pieces) == Chunk(number=0)
        assert (await queue.answer(Request(number=5))).number == 10
        assert [piece async for piece in pieces] == [Chunk(number=1), Chunk(number=2), Answer(number=6)]

    run(scene())


def test_closing_a_stream_stops_the_model() -> None:
    async def scene() -> None:
        doubler = Doubler()
        queue = RequestQueue(doubler, batch=1)
        pieces = queue.stream(Request(number=10**9))
        assert await anext(pieces) == Chunk(number=0)
        await until(doubler.begun)
        await pieces.aclose()
        doubler.gate.set()
        assert await asyncio.to_thread(doubler.closed.wait, 20)
        assert (await queue.answer(Request(number=5))).number == 10

    run(scene())


@pytest.mark.parametrize(("number", "error"), [(-1, runner.BadInput), (13, RuntimeError)])
def test_a_failing_stream_fails_no_other(number: int, error: type[Exception]) -> None:
    async def scene() -> None:
        doubler = Doubler()
        doubler.gate.set()
        queue = RequestQueue(doubler, batch=1)
        with pytest.raises(error):
            [piece async for piece in queue.stream(Request(number=number))]
        assert (await queue.answer(Request(number=5))).number == 10

    run(scene())
