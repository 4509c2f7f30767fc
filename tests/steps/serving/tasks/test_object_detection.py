"""object-detection and zero-shot-object-detection: boxes are in pixels of the upright picture."""

from __future__ import annotations

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks import object_detection, zero_shot_object_detection
from steps.smoke import difference
from tests.steps.serving.tasks.conftest import Made
from tests.steps.tasks import detection_cases as cases
from tests.steps.tasks.cases import ask, golden
from tests.steps.tasks.image_cases import encode_png, picture

pytestmark = pytest.mark.slow


def test_boxes_follow_the_exif_orientation(made: Made) -> None:
    from PIL import Image

    upright = picture("object-detection")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the left: a viewer turns it back
    sideways = encode_png(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    expected = ask(object_detection, made(cases.save_yolos), "object-detection")
    assert len({str(entry["box"]) for entry in expected["objects"]}) > 1
    assert ask(object_detection, made(cases.save_yolos), "object-detection", image=sideways) == expected


def test_threshold_and_top_k_drop_the_worst(made: Made) -> None:
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


def test_a_label_too_long_for_dino_is_refused(made: Made) -> None:
    with pytest.raises(BadInput, match=r"^candidate_labels: the text for label 1 has 42 tokens; this model reads 32 at most"):
        ask(
            zero_shot_object_detection,
            made(cases.save_grounding_dino),
            "zero-shot-object-detection",
            candidate_labels=["ship", "ship " * 40],
        )
