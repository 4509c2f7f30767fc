"""The pages that are made from the code, by their file names: the one place to add one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pipelines.pages.commands import commands_page
from pipelines.pages.crd import crd_page
from pipelines.pages.errors import errors_page
from pipelines.pages.settings import settings_page

FOLDER = Path(__file__).parents[2] / "docs"
PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "crd.md": crd_page,
    "errors.md": errors_page,
    "settings.md": settings_page,
}
