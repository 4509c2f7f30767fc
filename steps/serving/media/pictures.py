"""Reading pictures, whatever people send, and writing them."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

from ..fields import Media
from ..runner import BadInput

MAX_PIXELS = 50_000_000
# Many processors make the short side fit and let the other one follow: a line of pixels would become a picture of gigabytes.
MAX_RATIO = 50
# What is handed to a model that works on pictures in their own size; memory grows with it, for some models with its square.
MODEL_PIXELS = 1 << 20
# Pillow knows dozens more; some are rarely tested code, one starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
PNG = "image/png"


def read_picture(data: bytes, field: str = "image") -> Any:
    """The picture as RGB, turned upright by its EXIF orientation. Raises ``BadInput`` naming ``field``.

    Of an animation the first frame counts; what is transparent gets the colour that is stored for it, as in transformers.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadInput(f"{field}: {width}x{height} pixels; up to {MAX_PIXELS} are read")
            if max(width, height) > MAX_RATIO * min(width, height):
                raise BadInput(f"{field}: {width}x{height} pixels; one side may be up to {MAX_RATIO} times the other")
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):  # Pillow would cut off what is above 255: nearly all would be white
                upright = upright.convert("I").point(lambda value: value * (1 / 257)).convert("L")
            return upright.convert("RGB")
    except BadInput:
        raise
    except Image.DecompressionBombError:
        raise BadInput(f"{field}: too many pixels; up to {MAX_PIXELS} are read") from None
    except Exception:  # decoders raise what they like: OSError, ValueError, SyntaxError, struct.error, …
        raise BadInput(f"{field}: this is no picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF)") from None


def max_input_pixels(processor: Any) -> int:
    """How large a picture this image processor can be given: any, unless what it hands the model grows with the picture."""
    from PIL import Image

    shapes = set()
    for side in (256, 1024):
        inputs = processor(images=Image.new("RGB", (side, side)), return_tensors="pt")
        shapes.add(tuple(next(iter(inputs.values())).shape))
    return MAX_PIXELS if len(shapes) == 1 else MODEL_PIXELS


def shrink(image: Any, pixels: int) -> Any:
    """The picture itself if it has at most so many pixels, else a smaller one of the same shape."""
    from PIL import Image

    if image.width * image.height <= pixels:
        return image
    scale = (pixels / (image.width * image.height)) ** 0.5
    return image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))), Image.Resampling.LANCZOS)


@contextlib.contextmanager
def refuse_size_errors(image: Any) -> Iterator[None]:
    """Around calls of processor and model, which have done others: what they complain of is this picture's size.

    Some round sides down to a multiple and are left with nothing, some are fixed to one size and have nothing that scales.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if "allocate memory" in str(error):  # torch's word for too little
            raise
        raise BadInput(f"image: this model cannot work with {image.width}x{image.height} pixels; send another size") from error


def encode_png(image: Any) -> bytes:
    """A PIL image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def mask(inside: Any, size: tuple[int, int]) -> Media:
    """A mask, an array of truth values of shape (height, width), as a PNG of black and white of this width and height."""
    from PIL import Image

    image = Image.fromarray(inside)
    return Media.of(PNG, encode_png(image if image.size == size else image.resize(size, Image.Resampling.NEAREST)))


def label_map(masks: Sequence[Media], size: tuple[int, int]) -> bytes:
    """One PNG of this width and height for all masks: a pixel's grey value is its mask's place in the list, counted from 1.

    Where masks overlap, the smaller one lies on top; 0 is in no mask. It has 16 bits a pixel where there are over 255 masks.
    """
    import numpy as np
    from PIL import Image

    def inside(index: int) -> Any:
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(masks[index].data))))

    places = np.zeros((size[1], size[0]), np.uint8 if len(masks) < 256 else np.uint16)
    for index in sorted(range(len(masks)), key=lambda index: -int(inside(index).sum())):
        places[inside(index)] = index + 1
    return encode_png(Image.fromarray(places))
