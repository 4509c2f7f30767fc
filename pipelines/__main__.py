"""``python -m pipelines`` and the program ``slipway``: as little as possible before Ctrl-C is the command's own affair."""

from __future__ import annotations

import signal


def main() -> None:
    """Run ``slipway``. Ctrl-C while Python imports it ends the process as it ends others: silently."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pipelines.cli import main as run

    run()


if __name__ == "__main__":
    main()
