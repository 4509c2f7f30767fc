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
from steps.tasks.table import AUTO, tasks_for_auto
from tests.pipelines.conftest import Heard, Ingested, manifest, slipway
from tests.servers.forge_faults import object_requests

TEXT_FILES = frozenset({"config.json", "model.safetensors", "tokenizer.json"})


def test_a_run_serves_what_the_model_is_made_for(vit_run: Ingested, hub: Forge, tmp_path: Path) -> None:
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


def test_a_model_that_no_task_fits_is_refused_before_its_weights_move(tmp_path: Path, vit_run: Ingested) -> None:
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


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"architectures": ["BertForTokenClassification"], "model_type": "bert"}, ["token-classification"]),
        ({"architectures": ["BertModel"], "model_type": "bert"}, ["feature-extraction"]),
        ({"architectures": ["NoSuchThing"], "model_type": "none"}, []),
    ],
)
def test_a_head_decides_and_without_one_its_vectors_are_served(config: dict[str, object], expected: list[str]) -> None:
    assert [task.name for task in tasks_for_auto(config, TEXT_FILES)] == expected


def test_auto_stands_alone() -> None:
    with pytest.raises(SlipwayError) as caught:
        parse_manifest(manifest("m", "https://example.org/m", AUTO, "ner"), "model.yaml")
    assert caught.value.reason is Reason.INVALID_MANIFEST
    assert "auto alone" in caught.value.message


def test_a_configuration_that_is_not_known_before_the_fetch_asks_for_names(vit_run: Ingested) -> None:
    from steps.sources.base import Survey
    from steps.sources.choose import Choice

    survey = Survey(revision="", choice=Choice(taken=(), left=()), texts={})
    with pytest.raises(SlipwayError) as caught:
        check_survey(survey, (AUTO,))
    assert caught.value.reason is Reason.INVALID_INPUT
    assert check_survey(survey, ("ner",)) == ("token-classification",)
