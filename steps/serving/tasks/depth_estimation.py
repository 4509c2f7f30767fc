"""depth-estimation: a picture in, a map of how far away each of its pixels is out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from .. import runner
from ..fields import Media, Picture
from ..media.pictures import PNG, encode_png, max_input_pixels, read_picture, refuse_size_errors, shrink
from ..models.loading import load_pipeline

if TYPE_CHECKING:
    from torch import Tensor

LEVELS = (1 << 16) - 1


class Request(runner.Request):
    """The picture to look at."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")


class Answer(runner.Answer):
    """A map of a picture's depth."""

    file_type = PNG
    file_first = True

    width: int = Field(description="of the map and of the upright picture, in pixels")
    height: int
    min: float = Field(
        description="the model's value where the map is 0: in metres for a metric model; with many others, more is nearer"
    )
    max: float = Field(description="the model's value where the map is 65535")
    depth: Media = Field(
        description="grey PNG of 16 bits a pixel; a pixel's value is min + grey / 65535 * (max - min), and min is black"
    )

    def file(self) -> bytes:
        """The depth map as PNG."""
        return self.depth.read()


class Runner(runner.Runner[Request, Answer]):
    """A model that estimates depth, by the steps of transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("depth-estimation", folder)
        self.max_pixels = max_input_pixels(self.pipeline.image_processor)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a picture of a size that the model cannot work on."""
        import torch

        image = read_picture(request.image)
        # The pipeline's own steps. Called as a whole, it makes a map of 8 bits a pixel, as large as the picture that it reads.
        with refuse_size_errors(image):
            inputs = self.pipeline.preprocess(shrink(image, self.max_pixels))
            inputs["target_size"] = image.size[::-1]
            outputs = self.pipeline.forward(inputs)
        processor = self.pipeline.image_processor
        with torch.inference_mode():
            if type(processor).__name__ == "ZoeDepthImageProcessorPil":
                depth = remove_zoedepth_border(outputs.predicted_depth, image.height, image.width, processor.do_pad)
            else:
                depth = processor.post_process_depth_estimation(outputs, [outputs["target_size"]])[0]["predicted_depth"]
            return encode_depth(depth.float().reshape(image.height, image.width))


def remove_zoedepth_border(depth: Tensor, height: int, width: int, padded: bool) -> Tensor:
    """Scale ZoeDepth's depth to the picture, and cut off the border that its processor puts around pictures if ``padded``.

    ``depth`` has the shape (1, rows, columns), the result (height, width). The same as ``post_process_depth_estimation`` in
    transformers, which needs torchvision for the bicubic scaling.
    """
    from torch.nn.functional import interpolate

    above, aside = (int((side / 2) ** 0.5 * 3) if padded else 0 for side in (height, width))
    scaled = interpolate(depth[:, None], (height + 2 * above, width + 2 * aside), mode="bicubic", align_corners=False)
    return scaled[0, 0, above : above + height, aside : aside + width]


def encode_depth(values: Tensor) -> Answer:
    """The answer for finite values of shape (height, width)."""
    import numpy as np
    from PIL import Image

    depth = values.numpy().astype(np.float64)
    low, high = float(depth.min()), float(depth.max())
    grey = np.rint((depth - low) * (LEVELS / (high - low) if high > low else 0)).astype(np.uint16)
    return Answer(
        width=depth.shape[1], height=depth.shape[0], min=low, max=high, depth=Media.of(PNG, encode_png(Image.fromarray(grey)))
    )
