"""zero-shot-image-classification: SigLIP, and labels and templates as they are."""

from __future__ import annotations

import pytest

from steps.serving.tasks import zero_shot_image_classification
from steps.smoke import difference
from tests.steps.serving.tasks.conftest import Made
from tests.steps.tasks import detection_cases as cases
from tests.steps.tasks.cases import ask

pytestmark = pytest.mark.slow


def test_siglip_scores_each_label_alone(made: Made) -> None:
    folder = made(cases.save_siglip)
    scored = ask(zero_shot_image_classification, folder, "zero-shot-image-classification")
    difference(cases.compare(folder), scored)
    alone = ask(zero_shot_image_classification, folder, "zero-shot-image-classification", candidate_labels=["ship"])
    [ship] = [entry for entry in scored["labels"] if entry["label"] == "ship"]
    assert alone["labels"][0]["score"] == pytest.approx(ship["score"], abs=1e-5)


@pytest.mark.parametrize("template", ["{0.__class__} {}", "{} {:>999999999}", "{{}}", "a {} b {} c", "{}{"])
def test_only_empty_braces_of_a_template_mean_anything(template: str, made: Made) -> None:
    labels = ["a {} yard", "{0}", "ship", "ship"]
    answer = ask(
        zero_shot_image_classification,
        made(cases.save_clip),
        "zero-shot-image-classification",
        hypothesis_template=template,
        candidate_labels=labels,
    )
    assert {entry["label"] for entry in answer["labels"]} == set(labels)
    assert sum(entry["score"] for entry in answer["labels"]) == pytest.approx(1, abs=1e-4)
