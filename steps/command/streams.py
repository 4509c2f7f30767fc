"""Standard input, output and error of a command, made fit for use whatever a caller has left of them.

A program may be started with some of them closed (``>&-``, some supervisors). The next file that it opens would get that
number, and what a library writes to "standard error" would land in an object of the store: closed ones become ``/dev/null``.
Text that the encoding of the locale does not have is escaped instead of ending the command. An output that cannot be written is
one failure with a reason, also where a library that prints has its own idea of what to do then.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

from steps.core.errors import Reason, SlipwayError, from_os_error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

NAMES = {1: "standard output", 2: "standard error"}


def open_streams() -> None:
    """Open what is closed of the three streams, and let none of them fail on a character."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is getattr(sys, f"__{name}__"):  # and not what a test has put there
            _flush(getattr(sys, name))
            setattr(sys, name, _open(number, getattr(sys, name)))


def flush_output() -> None:
    """Write out what is left in the buffers. Raises the ``SlipwayError`` of a stream that cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


class _Output(io.FileIO):
    """An output as a file whose first failure is a ``SlipwayError``, and that drops what is written to it after that."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            number = self.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
            if isinstance(error, BrokenPipeError):
                raise SlipwayError(Reason.INTERRUPTED, f"The reader of {NAMES[number]} has ended.") from None
            if number == 2:  # nobody could be told
                return super().write(data) or 0
            failure = from_os_error(error, f"Cannot write {NAMES[number]}")
            if failure.reason is Reason.DISK_FULL:
                raise failure from None
            raise SlipwayError(
                Reason.SYSTEM_REFUSED, failure.message, hint="Redirect it to a file, a program or a terminal that takes it."
            ) from None


def _open(number: int, before: io.TextIOWrapper | None) -> io.TextIOWrapper:
    with contextlib.suppress(OSError):
        os.set_blocking(number, True)  # whoever shares a pipe may have changed that, and then a full one would be an error
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(number, "w", closefd=False)),
        encoding=before.encoding if before else "utf-8",
        errors="backslashreplace",
        line_buffering=before.line_buffering if before else False,
        write_through=before.write_through if before else False,
    )


def _flush(stream: io.TextIOWrapper | None) -> None:
    with contextlib.suppress(OSError):
        if stream:
            stream.flush()
