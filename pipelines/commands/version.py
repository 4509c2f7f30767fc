"""``slipway version``: the version of Slipway."""

from __future__ import annotations

from steps import __version__
from steps.core.errors import ExitCode


def version() -> int:
    """Print the version of Slipway."""
    print(__version__)
    return ExitCode.DONE
