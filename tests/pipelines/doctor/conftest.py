"""Servers that the doctor asks: a store, and Cloud Build."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.gcs_server import GcsServer
from tests.servers.trust import Trust
from tests.steps.images.cloud_build_site import Recorder, Site, launch


@pytest.fixture
def gcs() -> Iterator[GcsServer]:
    with GcsServer("models", "logs") as server:
        yield server


@pytest.fixture
def runner() -> Recorder:
    return Recorder()


@pytest.fixture
def site(trust: Trust, gcs: GcsServer, runner: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    yield from launch(trust, gcs, runner, tmp_path, monkeypatch)
