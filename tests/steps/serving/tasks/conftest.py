"""Models that several tests of a task ask, each saved once a module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Made = Callable[[Callable[[Path], None]], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A folder with the model that a function saves, each made once."""
    folders: dict[Callable[[Path], None], Path] = {}

    def folder(make: Callable[[Path], None]) -> Path:
        if make not in folders:
            folders[make] = tmp_path_factory.mktemp("model")
            make(folders[make])
        return folders[make]

    return folder
