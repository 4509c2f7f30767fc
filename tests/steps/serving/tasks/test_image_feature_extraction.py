"""image-feature-extraction: vectors of convolutional models, and poolers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from steps.serving.media import pictures
from steps.serving.runner import BadInput
from steps.serving.tasks import image_feature_extraction
from tests.steps.tasks.image_cases import save
from tests.tiny_models import labelled, save_image_model

pytestmark = pytest.mark.slow


def noise(width: int, height: int) -> Any:
    """The same picture each time, with something in it everywhere."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8))


def posted(width: int, height: int) -> bytes:
    return pictures.encode_png(noise(width, height))


def save_convolutions(folder: Path) -> Path:
    import torch
    from transformers import ConvNextImageProcessorPil, ResNetConfig, ResNetForImageClassification

    torch.manual_seed(7)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4, **labelled())
    return save(folder, ResNetForImageClassification(config), ConvNextImageProcessorPil(size={"shortest_edge": 64}))


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


def test_a_pooler_without_weights_is_not_used(tmp_path: Path) -> None:
    model = image_feature_extraction.Runner(save_image_model(tmp_path))
    with pytest.raises(BadInput, match=r"^pooling: .*no pooler"):
        model.predict(image_feature_extraction.Request(image=posted(20, 20), pooling="pooler"))
    assert len(model.predict(image_feature_extraction.Request(image=posted(20, 20), pooling="first")).features) == 1
