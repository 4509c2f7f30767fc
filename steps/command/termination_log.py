"""The termination log: the file whose end Kubernetes copies into the pod's status when a container ends.

A step that fails writes its failure there as one line of JSON. The kubelet keeps the last 4096 bytes of the file
(https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/), and half a line would be of no use to
anybody, so a failure that is too long is shortened first.
"""

from __future__ import annotations

import sys
from pathlib import Path

from steps.core.receipts import Failure
from steps.core.text import display_text

TERMINATION_LOG = Path("/dev/termination-log")  # Kubernetes' default terminationMessagePath
MAX_TERMINATION_LOG = 4096  # bytes


def write_termination_log(failure: Failure) -> None:
    """Write the failure to the termination log where there is one, which is in a pod."""
    if not TERMINATION_LOG.exists():
        return
    try:
        TERMINATION_LOG.write_bytes(termination_line(failure))
    except OSError:
        print("The termination log cannot be written.", file=sys.stderr)


def termination_line(failure: Failure) -> bytes:
    """Return the failure as one line of JSON of at most ``MAX_TERMINATION_LOG`` bytes; message and hint are cut to fit."""
    length = MAX_TERMINATION_LOG  # of either text, in characters: each is a byte at least
    cut = failure
    while len(line := f"{cut.model_dump_json()}\n".encode()) > MAX_TERMINATION_LOG:
        texts = {"message": display_text(failure.message, length), "hint": display_text(failure.hint, length)}
        cut = failure.model_copy(update=texts)
        length = length * 9 // 10
    return line
