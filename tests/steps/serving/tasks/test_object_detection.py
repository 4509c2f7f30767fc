"""Boxes and points are in pixels of the picture as a person sees it; labels of a request are taken as they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks import keypoint_matching, object_detection, zero_shot_image_classification, zero_shot_object_detection
from steps.smoke import difference
from tests.steps.tasks import detection_cases as cases
from tests.steps.tasks.cases import golden
from tests.steps.tasks.image_cases import picture

Made = Callable[[Callable[[Path], None]], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A folder with the model that a function saves, each made once."""
    folders: dict[Callable[[Path], None], Path] = {}

    def folder(make: Callable[[Path], None]) -> Path:
        if make not in folders:
            folders[make] = tmp_path_factory.mktemp("model")
            make(folders[make])
        return folders[make]

    return folder


def encoded(image: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def ask(module: Any, folder: Path, task: str, **changes: Any) -> dict[str, Any]:
    runner = module.Runner(folder)
    answer: dict[str, Any] = runner.predict(module.Request(**{**golden(task), **changes})).model_dump(mode="json")
    return answer


def test_a_picture_taken_sideways_has_the_boxes_of_the_upright_one(made: Made) -> None:
    from PIL import Image

    upright = picture("object-detection")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the left: a viewer turns it back
    sideways = encoded(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    expected = ask(object_detection, made(cases.save_yolos), "object-detection")
    assert len({str(entry["box"]) for entry in expected["objects"]}) > 1
    assert ask(object_detection, made(cases.save_yolos), "object-detection", image=sideways) == expected


def test_a_higher_threshold_or_a_smaller_number_leaves_out_the_worst(made: Made) -> None:
    folder = made(cases.save_yolos)
    everything = ask(object_detection, folder, "object-detection", threshold=0.0)["objects"]
    scores = [entry["score"] for entry in everything]
    assert scores == sorted(scores, reverse=True)
    middle = (scores[1] + scores[2]) / 2
    assert ask(object_detection, folder, "object-detection", threshold=middle)["objects"] == everything[:2]
    assert ask(object_detection, folder, "object-detection", threshold=0.0, top_k=1)["objects"] == everything[:1]


def test_grounding_dino_finds_what_the_library_finds(made: Made) -> None:
    folder = made(cases.save_grounding_dino)
    found = ask(zero_shot_object_detection, folder, "zero-shot-object-detection")
    difference(cases.detect_named(folder), found)
    assert {entry["label"] for entry in found["objects"]} == set(golden("zero-shot-object-detection")["candidate_labels"])


def test_a_label_longer_than_grounding_dino_reads_is_refused_by_its_place(made: Made) -> None:
    with pytest.raises(BadInput, match=r"^candidate_labels: the text for label 1 has 42 tokens; this model reads 32 at most"):
        ask(
            zero_shot_object_detection,
            made(cases.save_grounding_dino),
            "zero-shot-object-detection",
            candidate_labels=["ship", "ship " * 40],
        )


def test_siglip_scores_each_label_alone_as_the_library_does(made: Made) -> None:
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


@pytest.mark.parametrize("save", [cases.save_superglue, cases.save_lightglue])
def test_points_lie_in_their_own_picture_and_grow_with_it(save: Callable[[Path], None], made: Made) -> None:
    folder = made(save)
    found = ask(keypoint_matching, folder, "keypoint-matching")
    difference(cases.match(folder), found)
    assert found["matches"]
    sizes = {"image": picture("keypoint-matching"), "other": picture("keypoint-matching", "other")}
    for entry in found["matches"]:
        for name, size in sizes.items():
            assert 0 <= entry[name]["x"] <= size.width
            assert 0 <= entry[name]["y"] <= size.height


def test_points_reach_over_the_whole_width_of_a_wide_picture(made: Made) -> None:
    wide = encoded(picture("keypoint-matching").resize((900, 100)))
    found = ask(keypoint_matching, made(cases.save_superglue), "keypoint-matching", image=wide, other=wide)
    assert 100 < max(entry["image"]["x"] for entry in found["matches"]) <= 900
    assert max(entry["image"]["y"] for entry in found["matches"]) <= 100


@pytest.mark.parametrize("field", ["image", "other"])
def test_a_broken_picture_is_named_by_its_field(field: str, made: Made) -> None:
    with pytest.raises(BadInput, match=f"^{field}: "):
        ask(keypoint_matching, made(cases.save_superglue), "keypoint-matching", **{field: b"\x89PNG"})
