"""Write the pages: ``python -m pipelines.pages``."""

from __future__ import annotations

from pipelines.pages.table import FOLDER, PAGES


def main() -> None:
    """Write every page of the table into ``docs/``."""
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make())


if __name__ == "__main__":
    main()
