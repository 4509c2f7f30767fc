"""image-to-image: a picture in, a picture out, such as a larger and sharper one.

transformers has no pipeline for it any more; this is the model and its image processor.
"""

from __future__ import annotations

import base64
from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Media, Picture
from ..media.pictures import PNG, encode_png, read_picture, refuse_size_errors
from ..models.loading import load_model

# These models work on all pixels at full depth: about 18 kB of memory a pixel, and milliseconds.
MAX_PIXELS = 512 * 512


class Request(runner.Request):
    image: Picture = Field(
        description=f"the picture: JPEG, PNG, WebP, GIF, BMP or TIFF, of up to {MAX_PIXELS} pixels (such as 512x512)"
    )


class Answer(runner.Answer):
    file_type = PNG
    file_first = True

    width: int = Field(description="of the new picture, in pixels: the old one's times the model's scale")
    height: int
    image: Media = Field(description="the new picture as PNG")

    def file(self) -> bytes:
        return base64.b64decode(self.image.data)


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor

        self._processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self._model = load_model(folder, "AutoModelForImageToImage")

    def predict(self, request: Request) -> Answer:
        import torch
        from PIL import Image

        image = read_picture(request.image)
        if image.width * image.height > MAX_PIXELS:
            raise runner.BadInput(f"image: {image.width}x{image.height} pixels; this model takes up to {MAX_PIXELS}")
        with torch.inference_mode(), refuse_size_errors(image):
            inputs = self._processor(images=image, return_tensors="pt").to(self._model.dtype)
            made = self._model(**inputs).reconstruction[0].float()
        # The processor fills the picture up to whole windows, at the right and below; that is taken away again.
        scale = made.shape[-1] / inputs["pixel_values"].shape[-1]
        width, height = round(image.width * scale), round(image.height * scale)
        pixels = (made[:, :height, :width].clamp(0, 1) * 255).round().byte()
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        return Answer(width=width, height=height, image=Media.of(PNG, encode_png(picture)))
