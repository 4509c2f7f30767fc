"""mask-generation beyond its golden request: points and boxes, doubles, and pictures larger than is worked on."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest

from steps.serving.fields import Media
from steps.serving.runner import BadInput
from steps.serving.tasks import mask_generation
from steps.serving.tasks.mask_generation import Request, Runner, bounding_box, decode_run_lengths, non_maximum_suppression
from tests.steps.tasks.cases import golden
from tests.steps.tasks.image_cases import iou, picture, save, save_mask_model

pytestmark = pytest.mark.slow

IMAGE = golden("mask-generation")["image"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_mask_model(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Runner:
    return Runner(folder)


def unpacked(media: Any) -> Any:
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(media.data))))


def test_points_and_boxes_get_the_librarys_masks(folder: Path, model: Runner) -> None:
    import torch
    from transformers import SamModel, SamProcessor

    points = [[20.0 + 7 * place, 100.0 - 5 * place] for place in range(17)]  # more than go at once
    boxes = [[10.0, 20.0, 90.0, 100.0], [0.0, 0.0, 159.0, 127.0]]
    answer = model.predict(Request(image=IMAGE, points=points, boxes=boxes))
    assert len(answer.masks) == 19

    library, processor = SamModel.from_pretrained(folder), SamProcessor.from_pretrained(folder)
    prompts = [{"input_points": [[point]]} for point in points] + [{"input_boxes": [[box]]} for box in boxes]
    seen = set()
    for found, prompt in zip(answer.masks, prompts, strict=True):
        inputs = processor(picture("mask-generation"), **prompt, return_tensors="pt")
        asked = {name: inputs.pop(name).float() for name in prompt}
        with torch.no_grad():
            outputs = library(inputs["pixel_values"], **asked)
        [masks] = processor.image_processor.post_process_masks(
            outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
        )
        scores = outputs.iou_scores.flatten()
        best = masks.flatten(0, 1)[scores.argmax()].numpy()
        assert found.score == pytest.approx(float(scores.max()), abs=1e-5)
        assert (unpacked(found.mask) == best).all()
        seen.add(best.tobytes())
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"points": [[5, 128]]}, "points"),
        ({"points": [[1, 1], [160, 0]]}, "points"),
        ({"boxes": [[0, 0, 160, 20]]}, "boxes"),
        ({"boxes": [[9, 9, 9, 20]]}, "boxes"),
        ({"boxes": [[9, 20, 19, 10]]}, "boxes"),
    ],
)
def test_points_outside_the_picture_are_refused(model: Runner, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput, match=f"^{named}: "):
        model.predict(Request(image=IMAGE, **fields))


def test_the_number_of_masks_is_limited(model: Runner) -> None:
    whole = model.predict(Request(image=IMAGE, points_per_side=4))
    assert len(whole.masks) > 1
    assert [each.score for each in whole.masks] == sorted((each.score for each in whole.masks), reverse=True)
    assert model.predict(Request(image=IMAGE, points_per_side=4, max_masks=1)).masks == whole.masks[:1]


def test_no_mask_is_an_answer_too(model: Runner) -> None:
    answer = model.predict(Request(image=IMAGE, points_per_side=2, score_threshold=1))
    assert answer.masks == []
    assert not unpacked(Media.of("image/png", answer.file())).any()


@pytest.mark.parametrize("fields", [{"points_per_side": 2}, {"points": [[150, 120]], "boxes": [[8, 8, 90, 60]]}])
def test_masks_of_large_pictures_have_their_size(
    model: Runner, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setattr(mask_generation, "WORK_PIXELS", 80 * 64)
    answer = model.predict(Request(image=IMAGE, **fields))
    assert answer.masks
    for found in answer.masks:
        inside = unpacked(found.mask)
        assert inside.shape == (128, 160)
        assert found.box == bounding_box(inside, (160, 128))


def test_non_maximum_suppression_equals_a_plain_comparison() -> None:
    import torch

    generator = torch.Generator().manual_seed(5)
    corners = torch.randint(0, 40, (200, 2), generator=generator)
    boxes = torch.cat([corners, corners + torch.randint(1, 30, (200, 2), generator=generator)], dim=1).float()
    scores = torch.rand(200, generator=generator)
    kept: list[int] = []
    for index in scores.argsort(descending=True).tolist():
        if all(iou(boxes[index].tolist(), boxes[other].tolist()) <= 0.5 for other in kept):
            kept.append(index)
    assert non_maximum_suppression(boxes, scores, 0.5) == kept
    assert 1 < len(kept) < 150
    assert non_maximum_suppression(boxes[:0], scores[:0], 0.5) == []


def test_runs_along_columns_become_a_mask() -> None:
    assert decode_run_lengths({"size": (2, 3), "counts": [1, 3, 2]}).tolist() == [[False, True, False], [True, True, False]]
    assert decode_run_lengths({"size": (2, 3), "counts": [6]}).tolist() == [[False] * 3] * 2
    assert decode_run_lengths({"size": (2, 3), "counts": [0, 6]}).tolist() == [[True] * 3] * 2


def test_a_mask_without_pixels_has_an_empty_box() -> None:
    import numpy as np

    inside = np.zeros((4, 6), bool)
    assert bounding_box(inside, (12, 8)) == [0, 0, 0, 0]
    inside[1:3, 2:5] = True
    assert bounding_box(inside, (6, 4)) == [2, 1, 4, 2]
    assert bounding_box(inside, (12, 8)) == [4, 2, 9, 5]


def test_sam_hq_is_asked_in_the_same_way(tmp_path: Path) -> None:
    import torch
    from transformers import SamHQConfig, SamHQModel, SamImageProcessorPil

    torch.manual_seed(7)
    small = {"hidden_size": 16, "num_attention_heads": 2, "mlp_dim": 32}
    vision = {"image_size": 64, "patch_size": 8, "output_channels": 16, "window_size": 4, "num_hidden_layers": 2}
    config = SamHQConfig(
        vision_config={**small, **vision, "global_attn_indexes": [1], "num_pos_feats": 8, "initializer_range": 0.02},
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "image_embedding_size": 8},
        mask_decoder_config={**small, "iou_head_hidden_dim": 16, "vit_dim": 16},
    )
    processor = SamImageProcessorPil(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )
    model = Runner(save(tmp_path, SamHQModel(config), processor))
    assert len(model.predict(Request(image=IMAGE, points=[[9, 9]], boxes=[[1, 1, 60, 60]])).masks) == 2
    assert model.predict(Request(image=IMAGE, points_per_side=2, score_threshold=0, stability_threshold=0)).masks
