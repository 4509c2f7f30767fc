"""Pictures are fitted to models, and masks are written in the size of the picture."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest

from steps.serving.media import pictures


def noise(width: int, height: int) -> Any:
    """The same picture each time, with something in it everywhere."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8))


def opened(file: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(file))


def unpacked(media: Any) -> Any:
    import numpy as np

    return np.asarray(opened(base64.b64decode(media.data)))


@pytest.mark.slow
def test_pictures_are_shrunk_for_models_of_any_size() -> None:
    from transformers import GLPNImageProcessorPil, ViTImageProcessorPil

    assert pictures.max_input_pixels(ViTImageProcessorPil(size={"height": 16, "width": 16})) == pictures.MAX_PIXELS
    assert pictures.max_input_pixels(GLPNImageProcessorPil()) == pictures.MODEL_PIXELS
    image = noise(60, 40)
    assert pictures.shrink(image, 2400) is image
    assert pictures.shrink(image, 600).size == (30, 20)
    assert pictures.shrink(noise(500, 10), 20).size == (31, 1)


def test_the_smallest_mask_is_on_top() -> None:
    import numpy as np

    insides = [np.zeros((4, 6), bool) for _ in range(3)]
    insides[0][0, 0] = insides[1][:2] = insides[2][3:] = True
    found = np.asarray(opened(pictures.label_map([pictures.encode_mask(inside, (6, 4)) for inside in insides], (6, 4))))
    assert found.tolist() == [[1, 2, 2, 2, 2, 2], [2] * 6, [0] * 6, [3] * 6]


def test_many_masks_get_sixteen_bits() -> None:
    import numpy as np

    masks = [pictures.encode_mask(np.arange(300).reshape(10, 30) == place, (30, 10)) for place in range(300)]
    found = opened(pictures.label_map(masks, (30, 10)))
    assert found.mode == "I;16"
    assert np.asarray(found).flatten().tolist() == list(range(1, 301))


def test_a_mask_has_the_size_of_the_picture() -> None:
    import numpy as np

    inside = np.array([[True, False], [False, True]])
    assert unpacked(pictures.encode_mask(inside, (4, 2))).tolist() == [[True, True, False, False], [False, False, True, True]]
