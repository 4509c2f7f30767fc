"""Exceptions that a signal handler raises, where Python would drop them.

A handler may run inside a destructor or the callback of a weak reference. What it raises there leads nowhere: Python hands it
to ``sys.unraisablehook``, which prints it, and goes on (https://docs.python.org/3/library/sys.html#sys.unraisablehook). A limit
of time or a SIGTERM that meets such a moment would be without effect.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def noticed(kinds: type[BaseException] | tuple[type[BaseException], ...], lost: Callable[[], None]) -> Iterator[None]:
    """Call ``lost`` whenever an exception of these kinds was dropped inside the block.

    ``lost`` is called where the exception was dropped, so what it raises would be dropped as well: it has to arrange that the
    exception is raised again a moment later.
    """
    before = sys.unraisablehook

    def hook(unraisable: sys.UnraisableHookArgs, /) -> None:
        if issubclass(unraisable.exc_type, kinds):
            lost()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
