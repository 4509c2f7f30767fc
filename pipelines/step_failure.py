"""How a step in a process of its own has failed: the reason that it wrote, or what its end says where it wrote none."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from pydantic import ValidationError

from steps.core.errors import Reason, SlipwayError
from steps.core.graph import SMOKE
from steps.core.receipts import Failure

KEPT_LINES = 200  # of what a step writes: Python's resource tracker adds a warning for each thing that it cleans up
SHOWN_LINES = 20
_NO_MEMORY = ("std::bad_alloc", "MemoryError", "Cannot allocate memory", "DefaultCPUAllocator: can't allocate")
_STOPPED = {signal.SIGTERM: Reason.TERMINATED, signal.SIGINT: Reason.INTERRUPTED, signal.SIGHUP: Reason.INTERRUPTED}
_LIMITS = {signal.SIGXCPU: "ulimit -t", signal.SIGXFSZ: "ulimit -f"}


def step_failure(step: str, code: int, lines: Sequence[str]) -> SlipwayError:
    """Return the error of a step that ended.

    Args:
        step: Its name.
        code: Its exit code, negative for a signal.
        lines: The last lines on its standard error. The reason is a line of JSON, and not always the last one: interpreter and
            libraries may write more when they end.
    """
    for line in reversed(lines):
        try:
            failure = Failure.model_validate_json(line)
        except ValidationError:
            continue
        return SlipwayError(failure.reason, failure.message, hint=failure.hint)
    output = "\n".join(lines[-SHOWN_LINES:])
    if code == -signal.SIGKILL:
        return SlipwayError(Reason.OUT_OF_MEMORY, f"The step {step} was killed, most likely for its memory.")
    if code < 0:
        return _signalled(step, -code, output)
    return SlipwayError(Reason.INTERNAL_ERROR, f"The step {step} ended with exit code {code} and no reason:\n{output}")


def _signalled(step: str, number: int, output: str) -> SlipwayError:
    name = signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
    ended = f"The step {step} was ended by {name}."
    if number in _STOPPED:
        return SlipwayError(_STOPPED[signal.Signals(number)], ended)
    if number in _LIMITS:
        limit = _LIMITS[signal.Signals(number)]
        return SlipwayError(Reason.SYSTEM_REFUSED, ended, hint=f"A limit of this shell ended it (`{limit}`): raise it.")
    text = f"{ended[:-1]}, a crash in a library:\n{output}".rstrip(":\n")
    if any(sign in output for sign in _NO_MEMORY):
        return SlipwayError(Reason.OUT_OF_MEMORY, text)
    return SlipwayError(Reason.BOOT_FAILED if step == SMOKE.name else Reason.LOAD_FAILED, text)
