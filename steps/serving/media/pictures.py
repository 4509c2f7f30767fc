"""Pictures: reading files of the usual formats, fitting them to models, and writing PNG files."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..fields import Media
from ..models.library import Processor
from ..runner import BadInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MAX_PIXELS = 50_000_000
# Many processors scale by the shorter side: a line of pixels would become a picture of gigabytes.
MAX_RATIO = 50
# The most pixels for a model that works on pictures in their own size. Memory grows with it, for some models with its square.
MODEL_PIXELS = 1 << 20
# Pillow reads dozens more; the code of some is rarely tested, and one starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
PNG = "image/png"


def read_picture(data: bytes, field: str = "image") -> Image:
    """Decode a file.

    Args:
        data: The file, in one of ``FORMATS``.
        field: The name of the request's field, for errors.

    Returns:
        The picture in RGB, turned upright by its EXIF orientation (EXIF 2.32, tag 0x0112). Of an animation, the first frame;
        transparent pixels get the colour that is stored for them, as in transformers.

    Raises:
        BadInput: If it cannot be decoded, or is larger or longer than ``MAX_PIXELS`` and ``MAX_RATIO`` allow.
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
            if upright.mode.startswith("I;16"):  # Pillow would clip values above 255: nearly all would be white
                upright = upright.convert("I").point(lambda value: value * (1 / 257)).convert("L")
            return upright.convert("RGB")
    except BadInput:
        raise
    except Image.DecompressionBombError:
        raise BadInput(f"{field}: too many pixels; up to {MAX_PIXELS} are read") from None
    except Exception:  # decoders raise OSError, ValueError, SyntaxError, struct.error, …
        raise BadInput(f"{field}: this is not a picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF)") from None


def max_input_pixels(processor: Processor) -> int:
    """How many pixels a picture for this image processor may have.

    ``MAX_PIXELS`` if the model gets pictures of one size, ``MODEL_PIXELS`` if the model's input grows with the picture.
    """
    from PIL import Image

    shapes = set()
    for side in (256, 1024):
        inputs = processor(images=Image.new("RGB", (side, side)), return_tensors="pt")
        shapes.add(tuple(next(iter(inputs.values())).shape))
    return MAX_PIXELS if len(shapes) == 1 else MODEL_PIXELS


def shrink(image: Image, pixels: int) -> Image:
    """The picture itself if it has at most ``pixels`` pixels, else a smaller copy with the same ratio of its sides."""
    from PIL.Image import Resampling

    if image.width * image.height <= pixels:
        return image
    scale = (pixels / (image.width * image.height)) ** 0.5
    return image.resize((max(1, int(image.width * scale)), max(1, int(image.height * scale))), Resampling.LANCZOS)


@contextlib.contextmanager
def refuse_size_errors(image: Image) -> Iterator[None]:
    """A context for calls of processor and model: what they raise is the size of this picture, as they take other pictures.

    Some round sides down to a multiple, and nothing is left of a small picture; some work on one size and do not scale. Raises
    ``BadInput``.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if "allocate memory" in str(error):  # torch's text for too little memory, see serving.http
            raise
        raise BadInput(f"image: this model cannot work with {image.width}x{image.height} pixels; send another size") from error


def encode_png(image: Image) -> bytes:
    """A picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def encode_mask(inside: NDArray[np.bool_], size: tuple[int, int]) -> Media:
    """A mask as a PNG file: white where ``inside``, of shape (rows, columns), is true, else black; ``size``: width, height."""
    from PIL import Image

    image = Image.fromarray(inside)
    return Media.of(PNG, encode_png(image if image.size == size else image.resize(size, Image.Resampling.NEAREST)))


def label_map(masks: Sequence[Media], size: tuple[int, int]) -> bytes:
    """One PNG file for all masks: a pixel's grey value is the place of its mask in the list, counted from 1, and 0 for none.

    Where masks overlap, the smallest one counts. With more than 255 masks it has 16 bits a pixel. ``size``: width, height.
    """
    import numpy as np
    from PIL import Image

    def inside(index: int) -> NDArray[np.bool_]:
        return np.asarray(Image.open(io.BytesIO(masks[index].read())))

    places = np.zeros((size[1], size[0]), np.uint8 if len(masks) < 256 else np.uint16)
    for index in sorted(range(len(masks)), key=lambda index: -int(inside(index).sum())):
        places[inside(index)] = index + 1
    return encode_png(Image.fromarray(places))
