"""zero-shot-classification: scores as the library's, labels of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks import zero_shot_classification
from tests.steps.tasks.text_cases import NLI, pipe, save_judge
from tests.tiny_models import MAX_LENGTH

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_judge(tmp_path_factory.mktemp("judge"))


@pytest.fixture(scope="module")
def judge(judge_folder: Path) -> zero_shot_classification.Runner:
    return zero_shot_classification.Runner(judge_folder)


def labels(runner: zero_shot_classification.Runner, **fields: Any) -> dict[str, float]:
    answer = runner.predict(zero_shot_classification.Request(**{"text": "The crane was busy.", **fields}))
    return {each.label: each.score for each in answer.labels}


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("candidates", [["ship"], [*"abcdefgh", "ship", "crane of the yard", "what she liked"]])
def test_scores_are_those_of_the_library(
    judge: zero_shot_classification.Runner, judge_folder: Path, candidates: list[str], multi_label: bool
) -> None:
    options: dict[str, Any] = {"multi_label": multi_label, "hypothesis_template": "Ada saw {}."}
    said = pipe("zero-shot-classification", judge_folder)("The crane was busy.", candidate_labels=candidates, **options)
    found = labels(judge, candidate_labels=candidates, **options)
    assert found == pytest.approx(dict(zip(said["labels"], said["scores"], strict=True)), rel=1e-4)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert multi_label or sum(found.values()) == pytest.approx(1) or len(candidates) == 1


def test_classes_are_found_by_their_names(judge_folder: Path, judge: zero_shot_classification.Runner, tmp_path: Path) -> None:
    import json
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(judge_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    order = [1, 2, 0]
    config["id2label"] = {str(place): NLI[index].upper() for place, index in enumerate(order)}
    del config["label2id"]  # id2label alone says which is which
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(folder / "model.safetensors")
    head = {name: weights[name][order].clone() for name in ("classifier.weight", "classifier.bias")}
    save_file({**weights, **head}, folder / "model.safetensors", {"format": "pt"})
    candidates = {"candidate_labels": ["ship", "crane"], "multi_label": True}
    moved = labels(zero_shot_classification.Runner(folder), **candidates)
    assert moved == pytest.approx(labels(judge, **candidates), rel=1e-5)


@pytest.mark.parametrize("label", ["{}", "{0.__class__}", "%s", "[SEP]", "[PAD] [PAD]", "\n", "\u2603"])
def test_a_label_is_only_a_text(judge: zero_shot_classification.Runner, label: str) -> None:
    assert labels(judge, candidate_labels=[label, "ship"]).keys() == {label, "ship"}


def test_a_long_text_is_cut_but_no_label(judge: zero_shot_classification.Runner) -> None:
    candidates = ["ship", "crane " * (MAX_LENGTH - 8)]
    assert labels(judge, text="ship " * 1000, candidate_labels=candidates).keys() == set(candidates)
    with pytest.raises(BadInput, match=r"^candidate_labels\.1: its sentence has 61 tokens; this model reads 60 at most"):
        labels(judge, candidate_labels=["ship", "crane " * (MAX_LENGTH - 7)])
