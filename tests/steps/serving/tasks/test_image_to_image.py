"""image-to-image: the size of the new picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from steps.serving.media import pictures
from steps.serving.runner import BadInput
from steps.serving.tasks import image_to_image
from tests.steps.tasks.image_cases import save_enlarger

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


def test_an_enlarged_picture_has_no_border(tmp_path: Path) -> None:
    model = image_to_image.Runner(save_enlarger(tmp_path))
    for width, height in ((16, 16), (17, 9), (1, 1)):
        answer = model.predict(image_to_image.Request(image=posted(width, height)))
        made = opened(answer.file())
        assert made.size == (answer.width, answer.height) == (2 * width, 2 * height)
        assert made.mode == "RGB"
    with pytest.raises(BadInput, match=r"^image: 513x512 pixels"):
        model.predict(image_to_image.Request(image=posted(513, 512)))
