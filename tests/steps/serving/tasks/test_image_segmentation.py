"""image-segmentation: segments of every subtask have the size of the picture."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest

from steps.serving.media import pictures
from steps.serving.runner import BadInput
from steps.serving.tasks import image_segmentation
from tests.steps.tasks.image_cases import save, save_segmenter
from tests.steps.tasks.text_cases import pipe
from tests.tiny_models import labelled

pytestmark = pytest.mark.slow


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


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> image_segmentation.Runner:
    return image_segmentation.Runner(save_segmenter(tmp_path_factory.mktemp("segmenter")))


@pytest.fixture(scope="module")
def semantic(tmp_path_factory: pytest.TempPathFactory) -> image_segmentation.Runner:
    return image_segmentation.Runner(save_semantic_model(tmp_path_factory.mktemp("semantic")))


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


def test_a_semantic_model_refuses_other_subtasks(semantic: image_segmentation.Runner) -> None:
    for subtask in ("panoptic", "instance"):
        with pytest.raises(BadInput, match=r"^subtask: .*semantic"):
            semantic.predict(image_segmentation.Request(image=posted(30, 20), subtask=subtask))


def test_semantic_segments_are_the_pipelines(
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


def test_segments_of_large_pictures_have_their_size(
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
