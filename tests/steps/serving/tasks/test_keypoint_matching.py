"""keypoint-matching: points are in pixels of their own picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks import keypoint_matching
from steps.smoke import difference
from tests.steps.serving.tasks.conftest import Made
from tests.steps.tasks import detection_cases as cases
from tests.steps.tasks.cases import ask
from tests.steps.tasks.image_cases import encode_png, picture

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("save", [cases.save_superglue, cases.save_lightglue])
def test_points_lie_in_their_own_picture(save: Callable[[Path], None], made: Made) -> None:
    folder = made(save)
    found = ask(keypoint_matching, folder, "keypoint-matching")
    difference(cases.match(folder), found)
    assert found["matches"]
    sizes = {"image": picture("keypoint-matching"), "other": picture("keypoint-matching", "other")}
    for entry in found["matches"]:
        for name, size in sizes.items():
            assert 0 <= entry[name]["x"] <= size.width
            assert 0 <= entry[name]["y"] <= size.height


def test_points_cover_the_width_of_wide_pictures(made: Made) -> None:
    wide = encode_png(picture("keypoint-matching").resize((900, 100)))
    found = ask(keypoint_matching, made(cases.save_superglue), "keypoint-matching", image=wide, other=wide)
    assert 100 < max(entry["image"]["x"] for entry in found["matches"]) <= 900
    assert max(entry["image"]["y"] for entry in found["matches"]) <= 100


@pytest.mark.parametrize("field", ["image", "other"])
def test_a_broken_picture_is_named_by_its_field(field: str, made: Made) -> None:
    with pytest.raises(BadInput, match=f"^{field}: "):
        ask(keypoint_matching, made(cases.save_superglue), "keypoint-matching", **{field: b"\x89PNG"})
