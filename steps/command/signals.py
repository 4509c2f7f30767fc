"""Signals that end a command: the first lets it clean up, the second ends it at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from steps.core.errors import Reason, Terminated
from steps.core.folders import remove_all_now
from steps.core.lost_exceptions import noticed
from steps.core.process import kill_all

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_SECONDS = 0.05  # `timeout` of coreutils sends its signal to a command and to its group: twice, but meant once
_SHOW_CURSOR = b"\x1b[?25h"


@contextlib.contextmanager
def ending_signals() -> Iterator[None]:
    """Let the signals that end a command raise inside of the block: SIGINT ``KeyboardInterrupt``, the others ``Terminated``.

    SIGINT does so where a shell's ``&`` has made the process ignore it, too; SIGHUP does not where ``nohup`` has. A second
    signal ends the process at once, with every program that it started.
    """
    first: list[tuple[int, float]] = []
    again: list[threading.Timer] = []

    def receive(number: int, frame: FrameType | None) -> None:
        del frame
        now = time.monotonic()
        if not first:
            first.append((number, now))
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise Terminated(signal.Signals(number).name)
        if now - first[0][1] > SAME_SECONDS:
            end_at_once(number)

    def lost() -> None:
        """Let the signal arrive again: the first one has ended nothing."""
        if first:
            number, _ = first.pop()
            again.append(threading.Timer(SAME_SECONDS, signal.pthread_kill, (threading.main_thread().ident, number)))
            again[-1].start()

    numbers = [each for each in ENDING if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN]
    previous = {number: signal.signal(number, receive) for number in numbers}
    try:
        with noticed((KeyboardInterrupt, Terminated), lost):
            yield
    finally:
        for timer in again:
            timer.cancel()
            timer.join()
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_at_once(number: int) -> NoReturn:
    """Kill all programs of this process, remove its unfinished files, and end it: nothing is written but one line."""
    kill_all()
    remove_all_now()
    reason = Reason.INTERRUPTED if number == signal.SIGINT else Reason.TERMINATED
    with contextlib.suppress(OSError):
        if os.isatty(2):
            os.write(2, _SHOW_CURSOR)  # a progress bar may have hidden it
        os.write(2, f"error: {reason}: Stopped at once by a second signal.\n".encode())
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(reason.exit_code)
