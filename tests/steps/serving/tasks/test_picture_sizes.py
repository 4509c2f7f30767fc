"""What is told about a picture fits its own size, whatever size the model looks at."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest

from steps.serving.media import pictures
from steps.serving.runner import BadInput
from steps.serving.tasks import depth_estimation, image_feature_extraction, image_segmentation, image_to_image
from tests.steps.tasks.image_cases import save, save_depth_model, save_enlarger, save_segmenter
from tests.steps.tasks.text_cases import pipe
from tests.tiny_models import labelled, save_image_model


def noise(width: int, height: int) -> Any:
    """The same picture each time, with something in it everywhere."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8))


def posted(width: int, height: int) -> bytes:
    return pictures.encode_png(noise(width, height))


def opened(file: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(file))


def unpacked(media: Any) -> Any:
    import numpy as np

    return np.asarray(opened(base64.b64decode(media.data)))


def save_semantic_model(folder: Path) -> Path:
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessorPil

    torch.manual_seed(7)
    sizes = {"depths": [1] * 4, "hidden_sizes": [8] * 4, "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
    model = SegformerForSemanticSegmentation(SegformerConfig(**sizes, **labelled()))
    with torch.no_grad():
        model.decode_head.classifier.weight.mul_(100)
    return save(folder, model, SegformerImageProcessorPil(size={"height": 32, "width": 32}))


def save_convolutions(folder: Path) -> Path:
    import torch
    from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

    torch.manual_seed(7)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, **labelled())
    return save(folder, ResNetForImageClassification(config), ConvNextImageProcessorPil(size={"shortest_edge": 64}))


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> image_segmentation.Runner:
    return image_segmentation.Runner(save_segmenter(tmp_path_factory.mktemp("segmenter")))


@pytest.fixture(scope="module")
def semantic(tmp_path_factory: pytest.TempPathFactory) -> image_segmentation.Runner:
    return image_segmentation.Runner(save_semantic_model(tmp_path_factory.mktemp("semantic")))


@pytest.fixture(scope="module")
def depth(tmp_path_factory: pytest.TempPathFactory) -> depth_estimation.Runner:
    return depth_estimation.Runner(save_depth_model(tmp_path_factory.mktemp("depth")))


def test_only_a_picture_that_the_model_would_see_in_its_own_size_is_made_smaller() -> None:
    from transformers import GLPNImageProcessorPil, ViTImageProcessorPil

    assert pictures.max_input_pixels(ViTImageProcessorPil(size={"height": 16, "width": 16})) == pictures.MAX_PIXELS
    assert pictures.max_input_pixels(GLPNImageProcessorPil()) == pictures.MODEL_PIXELS
    image = noise(60, 40)
    assert pictures.shrink(image, 2400) is image
    assert pictures.shrink(image, 600).size == (30, 20)
    assert pictures.shrink(noise(500, 10), 20).size == (31, 1)


def test_masks_become_one_picture_with_the_smallest_on_top() -> None:
    import numpy as np

    insides = [np.zeros((4, 6), bool) for _ in range(3)]
    insides[0][0, 0] = insides[1][:2] = insides[2][3:] = True
    found = np.asarray(opened(pictures.label_map([pictures.encode_mask(inside, (6, 4)) for inside in insides], (6, 4))))
    assert found.tolist() == [[1, 2, 2, 2, 2, 2], [2] * 6, [0] * 6, [3] * 6]


def test_more_masks_than_eight_bits_can_tell_apart_get_sixteen() -> None:
    import numpy as np

    masks = [pictures.encode_mask(np.arange(300).reshape(10, 30) == place, (30, 10)) for place in range(300)]
    found = opened(pictures.label_map(masks, (30, 10)))
    assert found.mode == "I;16"
    assert np.asarray(found).flatten().tolist() == list(range(1, 301))


def test_a_mask_is_shown_in_the_size_of_the_picture() -> None:
    import numpy as np

    inside = np.array([[True, False], [False, True]])
    assert unpacked(pictures.encode_mask(inside, (4, 2))).tolist() == [[True, True, False, False], [False, False, True, True]]


@pytest.mark.parametrize("subtask", ["panoptic", "instance", "semantic"])
def test_a_segmenter_does_what_it_is_asked_for(segmenter: image_segmentation.Runner, subtask: Any) -> None:
    request = image_segmentation.Request(image=posted(90, 60), subtask=subtask, threshold=0.1)
    answer = segmenter.predict(request)
    assert (answer.width, answer.height) == (90, 60)
    assert answer.segments
    assert all((segment.score is None) == (subtask == "semantic") for segment in answer.segments)
    places = unpacked_map(answer)
    for place, segment in enumerate(answer.segments, 1):
        assert (unpacked(segment.mask) == (places == place)).all()  # these do not overlap


def unpacked_map(answer: image_segmentation.Answer) -> Any:
    import numpy as np

    return np.asarray(opened(answer.file()))


def test_a_model_for_classes_of_pixels_alone_refuses_other_subtasks(semantic: image_segmentation.Runner) -> None:
    for subtask in ("panoptic", "instance"):
        with pytest.raises(BadInput, match=r"^subtask: .*semantic"):
            semantic.predict(image_segmentation.Request(image=posted(30, 20), subtask=subtask))


def test_classes_of_pixels_fill_the_picture_as_with_the_pipeline(
    semantic: image_segmentation.Runner, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import numpy as np

    answer = semantic.predict(image_segmentation.Request(image=posted(90, 60)))
    found = pipe("image-segmentation", save_semantic_model(tmp_path_factory.mktemp("same")))(noise(90, 60))
    assert [segment.label for segment in answer.segments] == [entry["label"] for entry in found]
    assert len(found) > 1
    for segment, entry in zip(answer.segments, found, strict=True):
        assert (unpacked(segment.mask) == (np.asarray(entry["mask"]) > 0)).all()
    assert (unpacked_map(answer) > 0).all()


def test_a_large_picture_is_segmented_smaller_and_told_about_in_full_size(
    semantic: image_segmentation.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = image_segmentation.Request(image=posted(90, 60))
    monkeypatch.setattr(semantic, "max_pixels", 600)
    answer = semantic.predict(request)
    assert unpacked_map(answer).shape == (60, 90)
    assert (unpacked_map(answer) > 0).all()


def test_no_segment_is_an_answer_too(segmenter: image_segmentation.Runner) -> None:
    answer = segmenter.predict(image_segmentation.Request(image=posted(30, 20), threshold=1))
    assert answer.segments == []
    assert not unpacked_map(answer).any()


def test_depths_can_be_read_from_the_map_again(depth: depth_estimation.Runner) -> None:
    import numpy as np
    import torch

    values = torch.tensor([[-3.0, 0.25, 9.5], [1e-3, 2.0, 9.4999]])
    answer = depth_estimation.encode_depth(values)
    grey = np.asarray(opened(answer.file())).astype(float)
    assert (answer.min, answer.max, answer.width, answer.height) == (-3.0, 9.5, 3, 2)
    assert np.abs(answer.min + grey / 65535 * (answer.max - answer.min) - values.numpy()).max() <= 12.5 / 65535
    assert unpacked(depth_estimation.encode_depth(torch.full((2, 2), 4.0)).depth).tolist() == [[0, 0], [0, 0]]


def test_a_depth_map_is_as_large_as_the_picture(depth: depth_estimation.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = depth.predict(depth_estimation.Request(image=posted(150, 100)))
    monkeypatch.setattr(depth, "max_pixels", 6000)
    smaller = depth.predict(depth_estimation.Request(image=posted(150, 100)))
    assert unpacked(whole.depth).shape == unpacked(smaller.depth).shape == (100, 150)
    assert whole != smaller


def test_a_picture_that_a_model_cannot_round_to_its_steps_is_refused(depth: depth_estimation.Runner) -> None:
    with pytest.raises(BadInput, match=r"^image: .*20x20"):
        depth.predict(depth_estimation.Request(image=posted(20, 20)))
    assert depth.predict(depth_estimation.Request(image=posted(32, 32))).width == 32


def test_the_border_that_zoedepth_adds_is_cut_off(tmp_path: Path) -> None:
    import numpy as np
    import torch
    from transformers import BeitConfig, ZoeDepthConfig, ZoeDepthForDepthEstimation, ZoeDepthImageProcessorPil

    torch.manual_seed(7)
    backbone = BeitConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )
    few = dict.fromkeys(
        (
            "fusion_hidden_size",
            "bottleneck_features",
            "num_relative_features",
            "bin_embedding_dim",
            "num_patch_transformer_hidden_size",
        ),
        8,
    )
    model = ZoeDepthForDepthEstimation(ZoeDepthConfig(backbone_config=backbone, neck_hidden_sizes=[8] * 4, **few))
    save(tmp_path, model, ZoeDepthImageProcessorPil(size={"height": 32, "width": 32}, ensure_multiple_of=8))
    answer = depth_estimation.Runner(tmp_path).predict(depth_estimation.Request(image=posted(50, 40)))
    assert unpacked(answer.depth).shape == (40, 50)

    # A border of int(sqrt(side / 2) * 3): 13 above, 15 aside. What is inside is found again, without the border.
    inside = torch.arange(2000.0).reshape(40, 50)
    padded = torch.full((1, 66, 80), 9e9)
    padded[:, 13:53, 15:65] = inside
    assert torch.equal(depth_estimation.remove_zoedepth_border(padded, 40, 50, True), inside)
    assert np.array_equal(depth_estimation.remove_zoedepth_border(inside[None], 40, 50, False).numpy(), inside.numpy())


def test_an_enlarged_picture_has_exactly_the_scale_and_no_border(tmp_path: Path) -> None:
    model = image_to_image.Runner(save_enlarger(tmp_path))
    for width, height in ((16, 16), (17, 9), (1, 1)):
        answer = model.predict(image_to_image.Request(image=posted(width, height)))
        made = opened(answer.file())
        assert made.size == (answer.width, answer.height) == (2 * width, 2 * height)
        assert made.mode == "RGB"
    with pytest.raises(BadInput, match=r"^image: 513x512 pixels"):
        model.predict(image_to_image.Request(image=posted(513, 512)))


def test_vectors_of_convolutions_are_listed_place_by_place(tmp_path: Path) -> None:
    import torch
    from transformers import AutoImageProcessor, ResNetModel

    model = image_feature_extraction.Runner(save_convolutions(tmp_path))
    vectors = {
        pooling: model.predict(image_feature_extraction.Request(image=posted(70, 70), pooling=pooling)).features
        for pooling in ("none", "mean", "first", "pooler")
    }
    inputs = AutoImageProcessor.from_pretrained(tmp_path)(noise(70, 70), return_tensors="pt")
    with torch.no_grad():
        outputs = ResNetModel.from_pretrained(tmp_path)(**inputs)
    [states] = outputs.last_hidden_state
    channels, rows, columns = states.shape
    assert torch.allclose(torch.tensor(vectors["none"]), states.reshape(channels, rows * columns).T)
    assert torch.allclose(torch.tensor(vectors["mean"][0]), outputs.pooler_output.flatten(), atol=1e-6)
    assert vectors["first"] == vectors["none"][:1]
    assert torch.allclose(torch.tensor(vectors["pooler"][0]), outputs.pooler_output.flatten())


def test_a_pooler_that_the_author_did_not_save_is_not_made_up(tmp_path: Path) -> None:
    model = image_feature_extraction.Runner(save_image_model(tmp_path))
    with pytest.raises(BadInput, match=r"^pooling: .*no pooler"):
        model.predict(image_feature_extraction.Request(image=posted(20, 20), pooling="pooler"))
    assert len(model.predict(image_feature_extraction.Request(image=posted(20, 20), pooling="first")).features) == 1
