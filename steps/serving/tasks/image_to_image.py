"""image-to-image: a picture in, a picture out, such as a larger and sharper one.

transformers 5 has no pipeline for it; the model and its image processor are called directly.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Media, Picture
from ..media.pictures import PNG, encode_png, read_picture, refuse_size_errors
from ..models.loading import load_model

# Such a model works on all pixels in each of its layers: that takes about 18 kB of memory for each pixel.
MAX_PIXELS = 512 * 512


class Request(runner.Request):
    """The picture to work on."""

    image: Picture = Field(
        description=f"the picture: JPEG, PNG, WebP, GIF, BMP or TIFF, of up to {MAX_PIXELS} pixels (such as 512x512)"
    )


class Answer(runner.Answer):
    """The new picture."""

    file_type = PNG
    file_first = True

    width: int = Field(description="of the new picture, in pixels: the old one's times the model's scale")
    height: int
    image: Media = Field(description="the new picture as PNG")

    def file(self) -> bytes:
        """The new picture as PNG."""
        return self.image.read()


class Runner(runner.Runner[Request, Answer]):
    """A model that makes a picture of a picture, such as Swin2SR."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor

        self.processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self.model = load_model(folder, "AutoModelForImageToImage")

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a picture that is too large."""
        import torch
        from PIL import Image

        image = read_picture(request.image)
        if image.width * image.height > MAX_PIXELS:
            raise runner.BadInput(f"image: {image.width}x{image.height} pixels; this model takes up to {MAX_PIXELS}")
        with torch.inference_mode(), refuse_size_errors(image):
            inputs = self.processor(images=image, return_tensors="pt").to(self.model.dtype)
            made = self.model(**inputs).reconstruction[0].float()
        # The processor pads the picture at the right and below up to whole windows; this is cut off again.
        scale = made.shape[-1] / inputs["pixel_values"].shape[-1]
        width, height = round(image.width * scale), round(image.height * scale)
        pixels = (made[:, :height, :width].clamp(0, 1) * 255).round().byte()
        picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        return Answer(width=width, height=height, image=Media.of(PNG, encode_png(picture)))
