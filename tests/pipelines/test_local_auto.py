"""``services: [auto]``: the tasks follow from the model's own ``config.json``, before any weights move."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crd.manifest import parse_manifest
from pipelines.demo.forge import Forge
from pipelines.demo.repository import publish
from pipelines.local import run_model
from steps.core.errors import Reason, SlipwayError
from steps.fetch import check_survey
from steps.tasks.table import AUTO
from tests.pipelines.conftest import Heard, Ingested, manifest, slipway
from tests.servers.forge_faults import object_requests

pytestmark = pytest.mark.slow


def test_auto_serves_the_models_task(vit_run: Ingested, hub: Forge, tmp_path: Path) -> None:
    ingested = vit_run.copied_to(tmp_path / "store")
    model = parse_manifest(manifest("tiny-vit", hub.url("vit"), AUTO), "model.yaml")
    heard = Heard()
    outcome = run_model(model, str(ingested.store), heard)
    assert not outcome.failures
    assert outcome.receipts["fetch"].outputs["services"] == ["image-classification"]
    # From there on it is the same run as the one that named the task.
    assert outcome.skipped == set(outcome.nodes) - {"fetch"}
    assert set(outcome.nodes) == set(vit_run.outcome.nodes)
    again = run_model(model, str(ingested.store), heard)
    assert again.nothing_to_do


def test_the_plan_names_the_tasks(hub: Forge, tmp_path: Path) -> None:
    (tmp_path / "model.yaml").write_text(manifest("tiny", hub.url("classifier"), AUTO))
    done = slipway("plan", "-f", "model.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["services"] == ["text-classification"]


def test_an_unfit_model_is_refused_before_download(tmp_path: Path, vit_run: Ingested) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for path in vit_run.folder.iterdir():
        if path.name != "preprocessor_config.json":
            (tree / path.name).write_bytes(path.read_bytes())
    with Forge(tmp_path / "forge") as forge:
        publish(tmp_path / "forge", "vit", tree)
        model = parse_manifest(manifest("tiny-vit", forge.url("vit"), AUTO), "model.yaml")
        outcome = run_model(model, str(tmp_path / "store"), Heard())
        assert outcome.failure is not None
        assert outcome.failure.reason is Reason.TASK_MISMATCH
        assert "ViTForImageClassification" in outcome.failure.message
        assert object_requests(forge) == []


def test_auto_excludes_other_tasks() -> None:
    with pytest.raises(SlipwayError) as caught:
        parse_manifest(manifest("m", "https://example.org/m", AUTO, "ner"), "model.yaml")
    assert caught.value.reason is Reason.INVALID_MANIFEST
    assert "auto alone" in caught.value.message


def test_auto_needs_a_readable_configuration(vit_run: Ingested) -> None:
    from steps.sources.base import Survey
    from steps.sources.choose import Choice

    survey = Survey(revision="", choice=Choice(taken=(), left=()), texts={})
    with pytest.raises(SlipwayError) as caught:
        check_survey(survey, (AUTO,))
    assert caught.value.reason is Reason.INVALID_INPUT
    assert check_survey(survey, ("ner",)) == ("token-classification",)
