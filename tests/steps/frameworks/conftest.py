"""Tiny models that were fetched and loaded once, each in a store of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from steps.core.contract import Context
from steps.core.documents import ModelFacts
from steps.core.receipts import execute
from steps.fetch import STEP as FETCH
from steps.fetch import FetchInputs
from steps.load import STEP as LOAD
from steps.load import LoadInputs
from steps.sources.supported import SourceKind
from steps.store.local import LocalStore
from tests.tiny_models import classifier_folder, encoder_folder, tagger_folder, vit_folder

__all__ = ["classifier_folder", "encoder_folder", "tagger_folder", "vit_folder"]


Answer = Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Loaded:
    """A model of ``folder``, loaded for one service in the store ``root``."""

    folder: Path
    root: Path
    service: str
    lock: str
    facts: ModelFacts

    @property
    def answer(self) -> Answer:
        """The golden answer that was recorded."""
        return cast(Answer, self.facts.expected[self.service].answer)


def load(folder: Path, context: Context, *services: str) -> tuple[str, ModelFacts]:
    """Fetch a folder without asking which tasks it can do, and load it; the lock's key and the facts."""
    fetch = FetchInputs(source_kind=SourceKind.UPLOAD, source=str(folder))
    lock = execute(FETCH, fetch, context).outputs.lock
    facts = execute(LOAD, LoadInputs(lock=lock, services=services), context).outputs.facts
    return lock, context.read_document(facts, ModelFacts)


def loaded(root: Path, folder: Path, service: str) -> Loaded:
    return Loaded(folder, root, service, *load(folder, Context(store=LocalStore(root), scratch=root / "tmp"), service))


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory, classifier_folder: Path) -> Loaded:
    return loaded(tmp_path_factory.mktemp("classifier") / "store", classifier_folder, "text-classification")


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory, tagger_folder: Path) -> Loaded:
    return loaded(tmp_path_factory.mktemp("tagger") / "store", tagger_folder, "token-classification")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory, encoder_folder: Path) -> Loaded:
    return loaded(tmp_path_factory.mktemp("encoder") / "store", encoder_folder, "feature-extraction")


@pytest.fixture(scope="session")
def viewer(tmp_path_factory: pytest.TempPathFactory, vit_folder: Path) -> Loaded:
    return loaded(tmp_path_factory.mktemp("viewer") / "store", vit_folder, "image-classification")


@pytest.fixture(params=["classifier", "tagger", "encoder", "viewer"])
def each(request: pytest.FixtureRequest) -> Loaded:
    """Each model in turn."""
    value = request.getfixturevalue(request.param)
    assert isinstance(value, Loaded)
    return value
