"""The queue in front of the one model: requests that came while it was busy are answered together.

Nobody waits for a batch to fill: a lone request goes at once, and under load batches grow by themselves, up to the task's
limit, of requests that gain by it. The model works in a thread of its own, so health checks and uploads go on beside it, and
it waits for no client: the chunks of a streamed answer are kept for whoever reads them slowly.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .runner import Answer, Request, Runner, StreamingRunner

MAX_WAITING = 256
# In one go of the model each text costs as much as the longest one, and what is saved are about 20 tokens a text, on one core
# (`python -m tests.benchmarks.batching`). So texts go together whose lengths are at most this many characters from the oldest
# one's, and from this length on, where there is next to nothing to save and much memory to be taken, a text goes alone.
MAX_LENGTH_DIFFERENCE = 50
MAX_BATCHED_LENGTH = 500


class QueueFull(Exception):
    """More requests wait than can be answered in good time."""


@dataclass(frozen=True)
class _Job:
    """A request that waits or is being answered. ``done`` is cancelled when its client leaves; ``chunks`` are asked for."""

    request: Request
    done: asyncio.Future[Answer | None]
    chunks: asyncio.Queue[Answer | None] | None = None


class RequestQueue:
    """Answers requests through a runner, the oldest first, at most ``batch`` of them at once."""

    def __init__(self, runner: Runner[Any, Any], batch: int) -> None:
        self._runner, self._batch = runner, batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: deque[_Job] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def answer(self, request: Request) -> Answer:
        """The answer to one request. Raises ``QueueFull``, or what the runner raises for it."""
        answer = await self._enter(request).done
        assert answer is not None, "only a job with chunks ends without an answer"
        return answer

    async def stream(self, request: Request) -> AsyncGenerator[Answer, None]:
        """The chunks of one answer. Closing it early stops the model. Raises as ``answer`` does."""
        chunks: asyncio.Queue[Answer | None] = asyncio.Queue()
        job = self._enter(request, chunks)
        job.done.add_done_callback(lambda _: chunks.put_nowait(None))  # behind the last chunk
        try:
            while (chunk := await chunks.get()) is not None:
                yield chunk
            job.done.result()  # raises what the runner raised
        finally:
            job.done.cancel()

    def _enter(self, request: Request, chunks: asyncio.Queue[Answer | None] | None = None) -> _Job:
        if sum(not job.done.done() for job in self._waiting) >= MAX_WAITING:
            raise QueueFull
        job = _Job(request, asyncio.get_running_loop().create_future(), chunks)
        self._waiting.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return job

    async def _work(self) -> None:
        """Answer until nobody waits."""
        loop = asyncio.get_running_loop()
        while jobs := self._next():
            if jobs[0].chunks is not None:
                results: Sequence[Answer | Exception | None] = [
                    await loop.run_in_executor(self._thread, self._answer_in_chunks, jobs[0], jobs[0].chunks, loop)
                ]
            else:
                results = await loop.run_in_executor(self._thread, self._answer_all, [job.request for job in jobs])
            for job, result in zip(jobs, results, strict=True):
                if job.done.cancelled():
                    continue
                if isinstance(result, Exception):
                    job.done.set_exception(result)
                else:
                    job.done.set_result(result)

    def _next(self) -> list[_Job]:
        """The oldest job, with those that gain by being answered with it; what is behind a stream waits for that one.

        Those whose client has left are dropped.
        """
        waiting = [job for job in self._waiting if not job.done.cancelled()]
        jobs = waiting[:1]
        if jobs and jobs[0].chunks is None:
            alike = itertools.takewhile(lambda job: job.chunks is None, waiting[1:])
            jobs += [job for job in alike if _gain(jobs[0].request, job.request)][: self._batch - 1]
        taken = {id(job) for job in jobs}
        self._waiting = deque(job for job in waiting if id(job) not in taken)
        return jobs

    def _answer_all(self, requests: Sequence[Request]) -> Sequence[Answer | Exception]:
        """In the model's thread. A request that fails does not take the others with it."""
        if len(requests) > 1:
            try:
                answers = self._runner.predict_all(requests)
                if len(answers) == len(requests):
                    return answers
            except Exception:  # one of them is to blame: each is asked alone
                pass
        return [self._answer_alone(request) for request in requests]

    def _answer_alone(self, request: Request) -> Answer | Exception:
        try:
            answer: Answer = self._runner.predict(request)
            return answer
        except Exception as error:
            return _settable(error)

    def _answer_in_chunks(
        self, job: _Job, chunks: asyncio.Queue[Answer | None], loop: asyncio.AbstractEventLoop
    ) -> Exception | None:
        """In the model's thread."""
        assert isinstance(self._runner, StreamingRunner), "only such tasks have the route"
        try:
            found = self._runner.stream(job.request)
            try:
                for chunk in found:
                    if job.done.cancelled():
                        break
                    loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            finally:
                found.close()  # type: ignore[attr-defined]
        except Exception as error:
            return _settable(error)
        return None


def _gain(one: Request, other: Request) -> bool:
    """Whether it takes less time to answer both at once than one by one."""
    lengths = _read(one), _read(other)
    return max(lengths) < MAX_BATCHED_LENGTH and abs(lengths[0] - lengths[1]) <= MAX_LENGTH_DIFFERENCE


def _read(request: Request) -> int:
    """How many characters of text a model reads for a request, if that is what takes its time.

    Not where it writes: it goes through all its weights for each token, for one text or for several, and gains by any.
    """
    if "max_new_tokens" in type(request).model_fields:
        return 0
    return sum(len(value) for _, value in request if isinstance(value, str))


def _settable(error: Exception) -> Exception:
    """A future takes no ``StopIteration``."""
    return RuntimeError("StopIteration") if isinstance(error, StopIteration) else error
