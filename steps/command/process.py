"""A command as a process: signals and errors become an exit code, a message for a person, and a line for programs."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

from steps.command.signals import ending_signals
from steps.command.streams import flush_output
from steps.command.termination_log import write_termination_log
from steps.core.errors import Reason, SlipwayError, Terminated, to_slipway_error
from steps.core.receipts import Failure
from steps.core.redaction import redact
from steps.core.text import printable

_commands: list[bool] = []  # whether the command that this process is reports as JSON; nothing where it is no command


def run_to_exit_code(
    work: Callable[[], int], *, as_json: bool = False, on_failure: Callable[[SlipwayError], None] | None = None
) -> int:
    """Call ``work`` and return its exit code, or that of the reason of what it raises.

    Signals end it as ``steps.command.signals`` says. A failure is reported as ``report_failure`` says; before that,
    ``on_failure`` gets it, which may write it to standard output.
    """
    with ending_signals():
        _commands.append(as_json)
        try:
            return _with_output(work)
        except (Exception, KeyboardInterrupt, Terminated) as error:
            failure = to_slipway_error(error)
        finally:
            _commands.pop()
        if on_failure:
            with contextlib.suppress(SlipwayError):  # standard output is what fails: that is reported below
                on_failure(failure)
                sys.stdout.flush()
        report_failure(failure, as_json=as_json)
    return failure.reason.exit_code


def report_failure(failure: SlipwayError, *, as_json: bool = False) -> None:
    """Write a failure to the termination log, where there is one, and to standard error.

    On standard error it is two lines, ``error:`` and ``hint:``, or with ``as_json`` one JSON object. A bug of Slipway comes
    with its traceback, in front of them: texts of others in it cannot act on a terminal.
    """
    recorded = Failure.from_error(failure)
    write_termination_log(recorded)
    with contextlib.suppress(SlipwayError):  # nobody reads standard error; the exit code still says it
        if failure.reason is Reason.INTERNAL_ERROR and failure.__cause__:
            print(redact(printable("".join(traceback.format_exception(failure.__cause__)))), end="", file=sys.stderr)
        if as_json:
            print(recorded.model_dump_json(), file=sys.stderr, flush=True)
        else:
            print(f"error: {failure}\n hint: {failure.hint}", file=sys.stderr, flush=True)


def end_now(failure: SlipwayError) -> None:
    """Report a failure and end this process at once, from any thread: for work that does not return from compiled code.

    Does nothing where the process is no command, but another program that called a step.
    """
    if _commands:
        report_failure(failure, as_json=_commands[-1])
        os._exit(failure.reason.exit_code)


def _with_output(work: Callable[[], int]) -> int:
    try:
        code = work()
    except SystemExit:  # argparse has printed a help
        flush_output()
        raise
    flush_output()
    return code
