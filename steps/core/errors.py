"""The error that leaves a step, and how other errors become one.

A failure is a ``SlipwayError`` with a ``Reason`` of the closed list in ``steps.core.reasons``, a message, and a hint.
"""

from __future__ import annotations

import os

from steps.core.installation import install_command
from steps.core.os_errors import explain_os_error
from steps.core.reasons import REASONS, ExitCode, Reason, ReasonInfo
from steps.core.redaction import redact
from steps.core.text import printable

__all__ = [
    "REASONS",
    "DeadlinePassed",
    "ExitCode",
    "Reason",
    "ReasonInfo",
    "SlipwayError",
    "Terminated",
    "from_os_error",
    "missing_extra",
    "to_slipway_error",
]


_RAISE_DEADLINE = (
    "Run again: it continues where it stopped. If it needs more time, raise the limit, the setting `step_deadline` (seconds)."
)
OWN_PACKAGES = ("steps", "crd", "pipelines")


class SlipwayError(Exception):
    """The one error that leaves a step: a reason, a message, and a hint what to do.

    Attributes:
        reason: Decides the exit code and whether a retry can help.
        message: What happened, in one or more sentences; control characters are replaced, and secrets in addresses are cut out.
        hint: What the user can do about it; the reason's own where none is given.
    """

    def __init__(self, reason: Reason, message: str, *, hint: str | None = None) -> None:
        self.reason = reason
        self.message = redact(printable(message))
        self.hint = redact(printable(hint if hint is not None else reason.hint))
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def missing_extra(*extras: str, package: str = "", needed_by: str = "") -> SlipwayError:
    """The error for an optional library that is not installed; its hint works in a checkout and for an installed wheel.

    Args:
        extras: The extras of ``pyproject.toml`` that hold it, such as ``s3``.
        package: The package that could not be imported.
        needed_by: What needs it: a store's address, a builder, a command.

    Returns:
        A ``SlipwayError`` with the reason ``MissingDependency``, for the caller to raise.
    """
    what = f"the package {package}" if package else f"the packages of {', '.join(extras)}"
    return SlipwayError(
        Reason.MISSING_DEPENDENCY,
        f"{needed_by or 'This command'} needs {what}, which {'is' if package else 'are'} not installed.",
        hint=f"Run `{install_command(*extras)}`.",
    )


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived; the text is its name.

    Like ``KeyboardInterrupt`` it is not an ``Exception``: no library may handle it as its own failure.
    """


class DeadlinePassed(Terminated):
    """The time of a step has passed: it stops as if SIGTERM had arrived. The text says what took how long."""


def from_os_error(error: OSError, doing: str, *, place: Reason = Reason.SYSTEM_REFUSED) -> SlipwayError:
    """Make the ``SlipwayError`` for an error of the operating system: a full disk is not a bug of Slipway.

    Args:
        error: The error that was raised.
        doing: What was tried, such as ``Cannot write x``; the message begins with it.
        place: The reason where the file or folder itself cannot be used: it is missing, or the rights to it are. A store has
            one of its own.

    Returns:
        An error with the reason and the hint of ``steps.core.os_errors``, or with ``place``.
    """
    if isinstance(error, FileNotFoundError) and not error.filename and not _working_folder_exists():
        return SlipwayError(
            Reason.INVALID_INPUT,
            f"{doing}: the folder that this command was started in does not exist any more.",
            hint="Change to a folder that exists (`cd`), then run again.",
        )
    if str(error.strerror).startswith("No usable temporary directory"):  # CPython's `tempfile`
        return SlipwayError(
            Reason.SYSTEM_REFUSED, f"{doing}: {error.strerror}", hint="Set TMPDIR to a folder that you may write to."
        )
    text = f"{doing}: {error.strerror or str(error) or type(error).__name__}"
    if names := [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes) and name]:
        text += f" ({' -> '.join(names)})"
    known = explain_os_error(error)
    if known is None:
        return SlipwayError(Reason.INTERNAL_ERROR, f"{doing}: {type(error).__name__}: {error}")
    return SlipwayError(place if known.place else known.reason, text, hint=known.hint)


def to_slipway_error(error: BaseException) -> SlipwayError:
    """Turn anything that was raised into a ``SlipwayError``.

    What nobody foresaw becomes ``InternalError`` and keeps the original error, with its traceback, as ``__cause__``.
    """
    match error:
        case SlipwayError():
            return error
        case KeyboardInterrupt():
            return SlipwayError(Reason.INTERRUPTED, "Stopped by Ctrl-C.")
        case DeadlinePassed():
            return SlipwayError(Reason.DEADLINE_EXCEEDED, str(error), hint=_RAISE_DEADLINE)
        case Terminated():
            return SlipwayError(Reason.TERMINATED, f"Stopped by {error if error.args else 'SIGTERM'}.")
        case MemoryError():
            return SlipwayError(Reason.OUT_OF_MEMORY, "There is not enough memory.")
        case ImportError() if (error.name or "").partition(".")[0] not in OWN_PACKAGES:
            result = SlipwayError(
                Reason.MISSING_DEPENDENCY,
                f"A package that Slipway needs cannot be imported: {error}",
                hint="Install Slipway again, with all that it requires, into a new environment.",
            )
        case OSError():
            result = from_os_error(error, "The operating system refused")
        case _:
            result = SlipwayError(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
    result.__cause__ = error
    return result


def _working_folder_exists() -> bool:
    try:
        return os.path.isdir(os.getcwd())
    except OSError:
        return False
