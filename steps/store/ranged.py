"""Reading a big object by ranges, several at once: one connection to an object store carries only a part of what a node can.

Order is kept and memory is bounded: at most ``WINDOW`` parts are on their way or wait to be taken.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

from steps.core.errors import Reason, SlipwayError
from steps.net.retry import Patience

PART = 8 << 20  # bytes a request
WINDOW = 4  # parts at once


def read_ranges(
    fetch: Callable[[int, int], bytes], size: int, patience: Patience, *, part: int = PART, window: int = WINDOW
) -> Generator[bytes]:
    """The bytes from 0 to ``size`` in parts. ``fetch(start, end)`` brings those from ``start`` to before ``end``.

    It is called in threads, and again as ``patience`` says. The first error ends the reading and comes out; then, as
    when nobody takes the rest, no thread and no part is left.
    """
    stopped = threading.Event()

    def exactly(start: int, end: int) -> bytes:
        found = fetch(start, end)
        if len(found) != end - start:
            raise SlipwayError(Reason.DIGEST_MISMATCH, f"The store gave {len(found)} bytes of {end - start} asked for.")
        return found

    bring = patience(exactly, stopped)
    ranges = ((start, min(start + part, size)) for start in range(0, size, part))
    if size <= part:
        yield from (bring(start, end) for start, end in ranges)
        return
    pool = ThreadPoolExecutor(window, thread_name_prefix="read")
    try:
        ahead: deque[Future[bytes]] = deque(pool.submit(bring, *next(ranges)) for _ in range(min(window, -(-size // part))))
        while ahead:
            found = ahead.popleft().result()
            # Asked for now and not before: with this one, ``window`` parts are in memory.
            if (following := next(ranges, None)) is not None:
                ahead.append(pool.submit(bring, *following))
            yield found
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
