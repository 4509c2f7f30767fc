"""Reading a small text that a user wrote: a manifest, a file of settings. Whatever the path leads to, it ends soon."""

from __future__ import annotations

import os
import select
import stat
from pathlib import Path

from steps.core.errors import Reason, SlipwayError, from_os_error

PIPE_SECONDS = 60.0  # for the program at the other end of a pipe, as in `-f <(make-a-manifest)`
CHUNK = 1 << 16
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_user_text(path: Path, limit: int, reason: Reason) -> str:
    """Return a file's text, which is UTF-8 whatever the locale says; a byte order mark in front is left off.

    Args:
        path: A file, or a pipe that some program writes to.
        limit: Bytes that it may have.
        reason: The reason of an error.

    Raises:
        FileNotFoundError: There is no such file.
        SlipwayError: With ``reason``, where it is a folder, too large, or not text.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that nobody writes to must not hang
        try:
            kind = os.fstat(file).st_mode
            if stat.S_ISDIR(kind):
                raise SlipwayError(reason, f"{path} is a folder, not a file.")
            data = _read(file, limit + 1, path)
        finally:
            os.close(file)
    except FileNotFoundError as error:
        if not error.filename:  # the working folder is gone
            raise from_os_error(error, f"Cannot read {path}") from error
        raise
    except NotADirectoryError:
        raise FileNotFoundError(path) from None
    except OSError as error:
        known = from_os_error(error, f"Cannot read {path}")
        raise SlipwayError(reason, f"{path} cannot be read: {error.strerror}.", hint=known.hint) from None
    except ValueError:  # a null character
        raise SlipwayError(reason, f"{str(path)!r} is not the path of a file.") from None
    if len(data) > limit:
        raise SlipwayError(reason, f"{path} is larger than {limit} bytes.")
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            raise SlipwayError(reason, f"{path} is not text in UTF-8: it is {encoding}.", hint="Save it as UTF-8.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SlipwayError(
            reason, f"{path} is not text in UTF-8: line {line} has the byte {data[error.start]:#04x}.", hint="Save it as UTF-8."
        ) from None


def _read(file: int, count: int, path: Path) -> bytes:
    """Up to ``count`` bytes, with a limit of time for each part unless a person types them."""
    parts: list[bytes] = []
    while count > 0:
        try:
            part = os.read(file, min(count, CHUNK))
        except BlockingIOError:  # the writer is still at work
            seconds = None if os.isatty(file) else PIPE_SECONDS
            if not select.select([file], [], [], seconds)[0]:
                raise SlipwayError(
                    Reason.INVALID_INPUT, f"Nothing came from {path} within {PIPE_SECONDS:.0f} s.", hint="Name a regular file."
                ) from None
            continue
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
