"""A limit on the time that a step may take, kept by the process itself: what hangs ends as ``DeadlineExceeded``.

In a cluster Kubernetes keeps the same limit (``activeDeadlineSeconds``). Here an alarm of the operating system (SIGALRM) does,
which also reaches a call that waits in the kernel. It stops a step as SIGTERM does: everything is cleaned up on the way out.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

from steps.core.errors import DeadlinePassed, to_slipway_error
from steps.core.graph import STEP_DEADLINES
from steps.core.lost_exceptions import noticed
from steps.core.settings import Settings

AGAIN = 0.05  # seconds until a deadline that was lost is raised again


def step_deadline(step: str, settings: Settings) -> float:
    """The seconds that a step may take on this machine; one that waits for Cloud Build gets what it may wait, too."""
    seconds = settings.step_deadline or STEP_DEADLINES[step]
    return float(seconds + (settings.build_wait if step == "cloudbuild" else 0))


@contextlib.contextmanager
def deadline(what: str, seconds: float) -> Iterator[None]:
    """Stop what is in the block after so many seconds.

    ``what`` names it in the message. Only the main thread of a process can be stopped: in others the block has no limit.

    Raises:
        SlipwayError: ``DeadlineExceeded``.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise DeadlinePassed(f"{what} took longer than {seconds:g} seconds.")

    previous = signal.signal(signal.SIGALRM, ring)
    _ring_after(seconds)
    try:
        with noticed(DeadlinePassed, lambda: _ring_after(AGAIN)):
            yield
    except DeadlinePassed as error:
        raise to_slipway_error(error) from None
    finally:
        _ring_after(0)
        signal.signal(signal.SIGALRM, previous)


def _ring_after(seconds: float) -> None:
    """Let SIGALRM arrive after so many seconds; 0 for never."""
    signal.setitimer(signal.ITIMER_REAL, seconds)
