"""The queue in front of the one model: requests that arrive while it is busy are answered together.

No request waits for a batch to fill: a request to an idle model is answered at once, and under load batches grow by
themselves, up to the task's limit, of requests that gain by it. The model runs in a thread of its own, so that health checks
are answered and uploads are received meanwhile, and it waits for no client: the chunks of a streamed answer are kept for a
client that reads them slowly.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic

from .runner import AnswerT, Chunk, Request, Runner, StreamingRunner

MAX_WAITING = 256  # requests
# In a batch each text costs as much as the longest one, and what is saved is about 20 tokens a text on one core (measured by
# tests.benchmarks.batching). So texts are answered together if their lengths differ by at most MAX_LENGTH_DIFFERENCE
# characters from that of the oldest. A text of MAX_BATCHED_LENGTH characters or more is answered alone: there is next to
# nothing to save, and a batch of such texts takes much memory.
MAX_LENGTH_DIFFERENCE = 50
MAX_BATCHED_LENGTH = 500


class QueueFull(Exception):
    """``MAX_WAITING`` requests wait already."""


@dataclass(frozen=True)
class _Job(Generic[AnswerT]):
    """A request that waits or is being answered.

    ``done`` is cancelled when the client leaves. ``chunks`` is where the chunks go if the answer is to be streamed.
    """

    request: Request
    done: asyncio.Future[AnswerT | None]
    chunks: asyncio.Queue[Chunk | AnswerT | None] | None = None


class RequestQueue(Generic[AnswerT]):
    """Answers requests by a runner, the oldest first, at most ``batch`` of them at once."""

    def __init__(self, runner: Runner[Any, AnswerT], batch: int) -> None:
        """Start the model's thread. ``runner`` is called in it alone."""
        self._runner, self._batch = runner, batch
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._waiting: deque[_Job[AnswerT]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def answer(self, request: Request) -> AnswerT:
        """The answer to one request. Raises ``QueueFull``, or what the runner raises for it."""
        answer = await self._enqueue(request).done
        assert answer is not None, "only a job with chunks ends without an answer"
        return answer

    async def stream(self, request: Request) -> AsyncGenerator[Chunk | AnswerT, None]:
        """Yield the chunks of one answer, then the whole one. Closing it early stops the model. Raises as ``answer`` does."""
        chunks: asyncio.Queue[Chunk | AnswerT | None] = asyncio.Queue()
        job = self._enqueue(request, chunks)
        job.done.add_done_callback(lambda _: chunks.put_nowait(None))  # after the last chunk
        try:
            while (chunk := await chunks.get()) is not None:
                yield chunk
            job.done.result()  # raises what the runner raised
        finally:
            job.done.cancel()

    def _enqueue(self, request: Request, chunks: asyncio.Queue[Chunk | AnswerT | None] | None = None) -> _Job[AnswerT]:
        if sum(not job.done.done() for job in self._waiting) >= MAX_WAITING:
            raise QueueFull
        job = _Job(request, asyncio.get_running_loop().create_future(), chunks)
        self._waiting.append(job)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return job

    async def _work(self) -> None:
        """Answer until no request waits."""
        loop = asyncio.get_running_loop()
        while jobs := self._take_batch():
            if jobs[0].chunks is not None:
                results: Sequence[AnswerT | Exception | None] = [
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

    def _take_batch(self) -> list[_Job[AnswerT]]:
        """Take the next batch from the queue: the oldest job and those that gain by being answered with it.

        A stream is answered alone, and no job that came after a stream is answered before it. Jobs whose client has left are
        dropped.
        """
        waiting = [job for job in self._waiting if not job.done.cancelled()]
        jobs = waiting[:1]
        if jobs and jobs[0].chunks is None:
            alike = itertools.takewhile(lambda job: job.chunks is None, waiting[1:])
            jobs += [job for job in alike if _gains(jobs[0].request, job.request)][: self._batch - 1]
        taken = {id(job) for job in jobs}
        self._waiting = deque(job for job in waiting if id(job) not in taken)
        return jobs

    def _answer_all(self, requests: Sequence[Request]) -> Sequence[AnswerT | Exception]:
        """Answer a batch, in the model's thread. If it fails, each request is answered alone, so that one cannot fail all."""
        if len(requests) > 1:
            try:
                answers = self._runner.predict_all(requests)
                if len(answers) == len(requests):
                    return answers
            except Exception:  # one of them has caused it
                pass
        return [self._answer_alone(request) for request in requests]

    def _answer_alone(self, request: Request) -> AnswerT | Exception:
        try:
            return self._runner.predict(request)
        except Exception as error:
            return _settable(error)

    def _answer_in_chunks(
        self, job: _Job[AnswerT], chunks: asyncio.Queue[Chunk | AnswerT | None], loop: asyncio.AbstractEventLoop
    ) -> Exception | None:
        """Stream one answer into ``chunks``, in the model's thread."""
        assert isinstance(self._runner, StreamingRunner), "only tasks that stream have the route"
        try:
            answer = self._runner.stream(job.request)
            try:
                for chunk in answer:
                    if job.done.cancelled():
                        break
                    loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            finally:
                answer.close()
        except Exception as error:
            return _settable(error)
        return None


def _gains(one: Request, other: Request) -> bool:
    """Whether it takes less time to answer both in one batch than one after the other."""
    lengths = _text_length(one), _text_length(other)
    return max(lengths) < MAX_BATCHED_LENGTH and abs(lengths[0] - lengths[1]) <= MAX_LENGTH_DIFFERENCE


def _text_length(request: Request) -> int:
    """How many characters a request's texts have; 0 for a model that generates text.

    Such a model reads all its weights for each token that it writes, for one text or for several, and so it gains by any batch.
    """
    if "max_new_tokens" in type(request).model_fields:
        return 0
    return sum(len(value) for _, value in request if isinstance(value, str))


def _settable(error: Exception) -> Exception:
    """The error as one that a future accepts: ``asyncio.Future`` raises a ``TypeError`` for ``StopIteration``."""
    return RuntimeError("StopIteration") if isinstance(error, StopIteration) else error
