"""A step as a process, and the local runner, before a server that never answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from crd.types import Model
from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import publish
from pipelines.local import Observer, run_model
from steps.core.errors import ExitCode, Reason
from tests.steps.model_trees import model_tree
from tests.steps.sources.running import left_in, run_process

pytestmark = pytest.mark.slow  # a second each

RELEASED = threading.Event()


class Silent(ForgeHandler):
    """Takes the first request for Git and says nothing."""

    def git_refs(self, name: str) -> Reply:
        RELEASED.wait(60)
        return super().git_refs(name)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Forge]:
    RELEASED.clear()
    publish(tmp_path / "forge", "bert", model_tree(tmp_path / "tree"))
    with Forge(tmp_path / "forge", handler=Silent) as forge:
        yield forge
        RELEASED.set()


@pytest.mark.fault("survived")
def test_a_step_ends_at_its_deadline(tmp_path: Path, silent: Forge) -> None:
    done = run_process(silent.url("bert"), tmp_path / "store", "--progress=json", env={"SLIPWAY_STEP_DEADLINE": "1"})
    assert done.returncode == ExitCode.TRANSIENT, done.stderr
    failure = json.loads(done.stderr.splitlines()[-1])
    assert failure["reason"] == Reason.DEADLINE_EXCEEDED
    assert failure["message"] == "The step fetch took longer than 1 seconds."
    assert left_in(tmp_path / "store") == []
    assert not [process for process in psutil.Process().children(recursive=True) if process.name().startswith("git")]


@pytest.mark.fault("survived")
def test_a_local_run_keeps_the_deadline(tmp_path: Path, silent: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_STEP_DEADLINE", "1")
    model = Model.model_validate(
        {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "Model",
            "metadata": {"name": "bert"},
            "spec": {"source": silent.url("bert"), "sourceKind": "git_lfs", "services": ["text-classification"]},
        }
    )
    outcome = run_model(model, str(tmp_path / "store"), Observer())
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.DEADLINE_EXCEEDED
    assert "The step fetch took longer" in outcome.failure.message
    assert outcome.report  # it is made all the same
