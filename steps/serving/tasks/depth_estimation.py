"""depth-estimation: a picture in, how far away each of its pixels is out."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from pydantic import Field

from .. import runner
from ..fields import Media, Picture
from ..media.pictures import PNG, encode_png, max_input_pixels, read_picture, refuse_size_errors, shrink
from ..models.loading import load_pipeline

LEVELS = (1 << 16) - 1


class Request(runner.Request):
    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")


class Answer(runner.Answer):
    file_type = PNG
    file_first = True

    width: int = Field(description="of the depth map, in pixels: the picture's own")
    height: int
    min: float = Field(
        description="the model's value where the map is 0: metres for a metric model; for many others more is nearer"
    )
    max: float = Field(description="the model's value where the map is 65535")
    depth: Media = Field(
        description="grey PNG of 16 bits a pixel; a pixel's value is min + grey / 65535 * (max - min), and min is black"
    )

    def file(self) -> bytes:
        return base64.b64decode(self.depth.data)


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = load_pipeline("depth-estimation", folder)
        self._pixels = max_input_pixels(self._pipeline.image_processor)

    def predict(self, request: Request) -> Answer:
        import torch

        image = read_picture(request.image)
        # The pipeline's own steps; but its map has 8 bits a pixel, and it would not look at a smaller picture than it maps.
        with refuse_size_errors(image):
            inputs = self._pipeline.preprocess(shrink(image, self._pixels))
            inputs["target_size"] = image.size[::-1]
            outputs = self._pipeline.forward(inputs)
        processor = self._pipeline.image_processor
        with torch.inference_mode():
            if type(processor).__name__ == "ZoeDepthImageProcessorPil":
                depth = unpadded(outputs.predicted_depth, image.height, image.width, processor.do_pad)
            else:
                depth = processor.post_process_depth_estimation(outputs, [outputs["target_size"]])[0]["predicted_depth"]
            return answer(depth.float().reshape(image.height, image.width))


def unpadded(depth: Any, height: int, width: int, padded: bool) -> Any:
    """What ZoeDepth's image processor makes of the model's depth: it took the picture with a border, if ``padded``, and this
    is cut off again. (``post_process_depth_estimation`` in transformers, which calls torchvision for the bicubic scaling.)
    """
    from torch.nn.functional import interpolate

    above, aside = (int((side / 2) ** 0.5 * 3) if padded else 0 for side in (height, width))
    scaled = interpolate(depth[:, None], (height + 2 * above, width + 2 * aside), mode="bicubic", align_corners=False)
    return scaled[0, 0, above : above + height, aside : aside + width]


def answer(values: Any) -> Answer:
    """The answer for a tensor of finite values, of shape (height, width)."""
    import numpy as np
    from PIL import Image

    depth = values.numpy().astype(np.float64)
    low, high = float(depth.min()), float(depth.max())
    grey = np.rint((depth - low) * (LEVELS / (high - low) if high > low else 0)).astype(np.uint16)
    return Answer(
        width=depth.shape[1], height=depth.shape[0], min=low, max=high, depth=Media.of(PNG, encode_png(Image.fromarray(grey)))
    )
