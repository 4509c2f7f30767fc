"""Packages of tiny models, one of each kind of task, for the tests of what is done with a package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.steps.packages import Made, make
from tests.tiny_models import classifier_folder, encoder_folder, tagger_folder, vit_folder

__all__ = ["classifier_folder", "encoder_folder", "tagger_folder", "vit_folder"]


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory, classifier_folder: Path) -> Made:
    return make(tmp_path_factory.mktemp("classifier") / "store", classifier_folder, "text-classification")


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory, tagger_folder: Path) -> Made:
    return make(tmp_path_factory.mktemp("tagger") / "store", tagger_folder, "token-classification")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Made:
    return make(tmp_path_factory.mktemp("encoder") / "store", encoder_folder, "feature-extraction")


@pytest.fixture(scope="session")
def viewer(tmp_path_factory: pytest.TempPathFactory, vit_folder: Path) -> Made:
    return make(tmp_path_factory.mktemp("viewer") / "store", vit_folder, "image-classification")


@pytest.fixture(params=["classifier", "tagger", "encoder", "viewer"])
def made(request: pytest.FixtureRequest) -> Made:
    """Each task's package in turn."""
    value = request.getfixturevalue(request.param)
    assert isinstance(value, Made)
    return value


@pytest.fixture
def flip() -> Callable[[Path], None]:
    """Flip the lowest bit of a stored file's middle byte, as a bad disk would."""

    def flipped(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)

    return flipped
