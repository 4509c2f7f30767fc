"""Servers that builders speak to."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.gcs_server import GcsServer
from tests.servers.oci_registry import OciRegistry
from tests.servers.trust import Trust
from tests.steps.images.cloud_build_site import Recorder, Site, launch
from tests.steps.images.oci_build import OciBuild, put_base, wheels


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


@pytest.fixture(scope="session")
def wheel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def offline_pip(wheel_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip sees the tiny wheels and nothing else, and nobody's credentials are at hand."""
    for name in [name for name in os.environ if name.startswith(("PIP_", "SLIPWAY_")) or name == "REGISTRY_AUTH_FILE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel_folder))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def registry() -> Iterator[OciRegistry]:
    with OciRegistry() as server:
        put_base(server)
        yield server


@pytest.fixture(scope="session")
def kept_layers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the first test that installs packages leaves their layers for the others."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def oci_build(registry: OciRegistry, offline_pip: None, kept_layers: Path, tmp_path: Path) -> Iterator[OciBuild]:
    """A store that may have the packages' layers already, and a registry that has the base image."""
    made = OciBuild(tmp_path / "store", registry)
    for name in ("layers", "blobs"):
        if (kept_layers / name).exists():
            shutil.copytree(kept_layers / name, made.root / name)
    yield made
    if not (kept_layers / "layers").exists() and (made.root / "layers").exists():
        for name in ("layers", "blobs"):
            shutil.copytree(made.root / name, kept_layers / name)
