"""Reading a big object by ranges, several at once: one connection to an object store carries only a part of what a node can.

The order is kept and memory is bounded: at most ``WINDOW`` parts are being downloaded or wait for the consumer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

from steps.core.errors import Reason, SlipwayError
from steps.store.request_retry import RequestRetry

PART = 8 << 20  # bytes of one request
WINDOW = 4  # parts at once


def read_ranges(
    download: Callable[[int, int], bytes], size: int, retry: RequestRetry, *, part: int = PART, window: int = WINDOW
) -> Generator[bytes]:
    """Yield the bytes of an object from first to last.

    Args:
        download: Returns the bytes from offset ``start`` to before ``end``. Called in threads, and again as ``retry`` says.
        size: Bytes of the object.
        retry: The retries of the client library behind ``download``.
        part: Most bytes of one call.
        window: Most calls at once.

    Raises:
        SlipwayError: ``DigestMismatch`` where a range has another length than requested.
        Exception: The first error of ``download``. After it, as after ``close``, no thread and no part is left.
    """
    stopped = threading.Event()

    def download_exactly(start: int, end: int) -> bytes:
        data = download(start, end)
        if len(data) != end - start:
            raise SlipwayError(Reason.DIGEST_MISMATCH, f"The store sent {len(data)} bytes of {end - start} requested.")
        return data

    def read(start: int, end: int) -> bytes:
        return retry.call(lambda: download_exactly(start, end), stopped)

    ranges = ((start, min(start + part, size)) for start in range(0, size, part))
    if size <= part:
        yield from (read(start, end) for start, end in ranges)
        return
    pool = ThreadPoolExecutor(window, thread_name_prefix="read")
    try:
        pending: deque[Future[bytes]] = deque(pool.submit(read, *next(ranges)) for _ in range(min(window, -(-size // part))))
        while pending:
            data = pending.popleft().result()
            # Requested now and not before: with this one, ``window`` parts are in memory.
            if (following := next(ranges, None)) is not None:
                pending.append(pool.submit(read, *following))
            yield data
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
