"""depth-estimation: maps have the size of the picture, and the model's values can be read from them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest

from steps.serving.media import pictures
from steps.serving.runner import BadInput
from steps.serving.tasks import depth_estimation
from tests.steps.tasks.image_cases import save, save_depth_model

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


@pytest.fixture(scope="module")
def depth(tmp_path_factory: pytest.TempPathFactory) -> depth_estimation.Runner:
    return depth_estimation.Runner(save_depth_model(tmp_path_factory.mktemp("depth")))


def test_depths_can_be_read_from_the_map_again(depth: depth_estimation.Runner) -> None:
    import numpy as np
    import torch

    values = torch.tensor([[-3.0, 0.25, 9.5], [1e-3, 2.0, 9.4999]])
    answer = depth_estimation.encode_depth(values)
    grey = np.asarray(opened(answer.file())).astype(float)
    assert (answer.min, answer.max, answer.width, answer.height) == (-3.0, 9.5, 3, 2)
    assert np.abs(answer.min + grey / 65535 * (answer.max - answer.min) - values.numpy()).max() <= 12.5 / 65535
    assert unpacked(depth_estimation.encode_depth(torch.full((2, 2), 4.0)).depth).tolist() == [[0, 0], [0, 0]]


def test_a_depth_map_has_the_pictures_size(depth: depth_estimation.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = depth.predict(depth_estimation.Request(image=posted(150, 100)))
    monkeypatch.setattr(depth, "max_pixels", 6000)
    smaller = depth.predict(depth_estimation.Request(image=posted(150, 100)))
    assert unpacked(whole.depth).shape == unpacked(smaller.depth).shape == (100, 150)
    assert whole != smaller


def test_a_picture_too_small_to_round_is_refused(depth: depth_estimation.Runner) -> None:
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
