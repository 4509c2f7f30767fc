"""Tiny models published on a forge and taken the whole way, once a session, for the tests of the runner and the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from crd.manifest import parse_manifest
from crd.types import Model
from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish
from pipelines.local import NodeState, Observer, Outcome, run_model
from steps.core.contract import Context
from steps.core.progress import Progress, ProgressEvent
from steps.core.receipts import Receipt
from steps.store.local import LocalStore
from tests.servers.api_server import cluster, environment, server
from tests.tiny_models import classifier_folder, encoder_folder, tagger_folder, vit_folder

__all__ = ["classifier_folder", "cluster", "encoder_folder", "environment", "server", "tagger_folder", "vit_folder"]

# Each model's repository and its services.
SERVICES = {
    "classifier": ("text-classification", "feature-extraction"),
    "tagger": ("ner",),
    "vit": ("image-classification",),
}


def manifest(name: str, source: str, *services: str, **spec: str) -> str:
    """The text of a ``model.yaml``."""
    lines = ["apiVersion: slipway.dev/v1alpha1", "kind: Model", "metadata:", f"  name: {name}", "spec:"]
    lines += [f"  services: [{', '.join(services)}]", "  sourceKind: git_lfs", f"  source: {source}"]
    return "\n".join([*lines, *(f"  {key}: {value}" for key, value in spec.items())]) + "\n"


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli", *map(str, arguments)]


def slipway(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The ``slipway`` command, to its end."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=dict(os.environ) | environment, capture_output=True, text=True, timeout=200
    )


def slipway_here(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The ``slipway`` command in this working folder, to its end."""
    return slipway(*arguments, cwd=Path.cwd(), **environment)


@dataclass
class Heard(Observer):
    """An observer that remembers."""

    states: list[tuple[str, NodeState]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    before: list[Receipt] = field(default_factory=list)

    def begin(self, run: str, nodes: tuple[str, ...], before: list[Receipt]) -> None:
        self.before = before

    def changed(self, node: str, state: NodeState) -> None:
        self.states.append((node, state))

    def progress(self, node: str) -> Progress:
        heard = self

        class Sink(Progress):
            def emit(self, event: ProgressEvent) -> None:
                if event.kind == "note":
                    heard.notes.append((node, event.text))

        return Sink()


@dataclass(frozen=True)
class Ingested:
    """A finished run: the Model, the folder that was published, the store, the outcome and the observer."""

    model: Model
    text: str
    folder: Path
    store: Path
    outcome: Outcome
    heard: Heard

    @property
    def context(self) -> Context:
        return Context(store=LocalStore(self.store), scratch=self.store / "tmp")

    def copied_to(self, store: Path) -> Ingested:
        """The same run in another store, for a test that changes something."""
        shutil.copytree(self.store, store)
        return Ingested(self.model, self.text, self.folder, store, self.outcome, self.heard)


@pytest.fixture(scope="session")
def model_folders(classifier_folder: Path, tagger_folder: Path, vit_folder: Path) -> Mapping[str, Path]:
    return {"classifier": classifier_folder, "tagger": tagger_folder, "vit": vit_folder}


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory, model_folders: Mapping[str, Path]) -> Iterator[Forge]:
    """A forge that has every model, each in a repository of its name."""
    root = tmp_path_factory.mktemp("hub")
    for name, folder in model_folders.items():
        publish(root, name, folder)
    with Forge(root) as forge:
        yield forge


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, hub: Forge, model_folders: Mapping[str, Path]) -> Mapping[str, Ingested]:
    """Every model run through the whole pipeline, each in a store of its own."""
    root = tmp_path_factory.mktemp("runs")

    def ingest(name: str) -> Ingested:
        text = manifest(f"tiny-{name}", hub.url(name), *SERVICES[name])
        model = parse_manifest(text, "model.yaml")
        heard = Heard()
        return Ingested(model, text, model_folders[name], root / name, run_model(model, str(root / name), heard), heard)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(SERVICES, pool.map(ingest, SERVICES), strict=True))


@pytest.fixture(scope="session")
def vit_run(runs: Mapping[str, Ingested]) -> Ingested:
    return runs["vit"]


@pytest.fixture(scope="session")
def classifier_run(runs: Mapping[str, Ingested]) -> Ingested:
    return runs["classifier"]
