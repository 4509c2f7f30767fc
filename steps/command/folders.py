"""Folders that a flag or a setting names: what is wrong with one is told before any work, and as a mistake in that flag."""

from __future__ import annotations

import errno
from pathlib import Path

from steps.core.errors import Reason, SlipwayError, from_os_error

# What only another path can help: the path itself is wrong.
_WRONG_PATH = {errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ, errno.EINVAL}


def require_folder(text: str, flag: str) -> Path:
    """Return the folder of a flag, made where it does not exist.

    Raises:
        SlipwayError: ``InvalidInput`` where this can be no folder, ``SystemRefused`` where there is no right to it.
    """
    try:
        folder = Path(text)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except (OSError, ValueError) as error:
        raise _refused(error, text, flag) from None


def check_store_folder(folder: Path) -> None:
    """Raise ``InvalidInput`` where the path of a store can be no folder. Nothing is made: a store makes it when it writes."""
    try:
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(folder))
        folder.lstat()  # exists() takes some errors for an answer
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _WRONG_PATH:
            return  # what can be read or written shows when it is
        raise _refused(error, str(folder), "The store") from None


def _refused(error: OSError | ValueError, text: str, flag: str) -> SlipwayError:
    if isinstance(error, ValueError):
        return SlipwayError(Reason.INVALID_INPUT, f"{flag} {text!r} is not a path.", hint="Name a folder.")
    if error.errno not in _WRONG_PATH:
        return from_os_error(error, f"{flag} {text} cannot be used")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        why, hint = "is not a folder, or lies below a file", "Name a folder, or one that can be made."
    else:
        why, hint = f"cannot be a folder: {error.strerror}", from_os_error(error, "").hint
    return SlipwayError(Reason.INVALID_INPUT, f"{flag} {text} {why}.", hint=hint)
