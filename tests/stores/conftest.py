"""Each store with a way to see what it has left unfinished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from steps.store import Store, open_store
from tests.gcs_server import GcsServer


@dataclass
class Place:
    """A store's address, the store, and what is left of writes that did not end."""

    uri: str
    store: Store
    unfinished: Callable[[], list[object]]


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsServer]:
    """A server with the empty bucket ``models``, which the official client finds by the environment."""
    with GcsServer("models") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture(params=["local", "gcs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "local":
        uri, root = f"file://{tmp_path}/store", tmp_path / "store"
        return Place(uri, open_store(uri), lambda: list((root / "tmp").glob("*")))
    server: GcsServer = request.getfixturevalue("gcs")
    uri = "gs://models/some/prefix"
    return Place(uri, open_store(uri), lambda: list(server.unfinished))


@pytest.fixture
def store(place: Place) -> Store:
    return place.store
