"""What clients post as a picture: it is read, or refused by name; no file makes the service fail."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.serving.media.pictures import FORMATS, MAX_PIXELS, MAX_RATIO, read_picture
from steps.serving.runner import BadInput

# Pillow warns of what looks damaged or large; in a service that is a line in its log.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

RED, BLUE = (200, 10, 30), (0, 0, 255)


def saved(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(width: int = 6, height: int = 4) -> Any:
    """Red, with a blue point at the top left."""
    from PIL import Image

    image = Image.new("RGB", (width, height), RED)
    image.putpixel((0, 0), BLUE)
    return image


def picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    return saved(plain().convert(mode), kind, **options)


def close(one: float | tuple[int, ...] | None, other: tuple[int, ...], by: int = 2) -> bool:
    assert isinstance(one, tuple)
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_usual_formats_are_read_as_rgb(kind: str) -> None:
    image = read_picture(picture(kind))
    assert (image.mode, image.size) == ("RGB", (6, 4))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    assert read_picture(picture("PNG", mode)).mode == "RGB"


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "P"), ("GIF", "P"), ("PNG", "RGBA"), ("WEBP", "RGBA"), ("JPEG", "CMYK"), ("TIFF", "CMYK")]
)
def test_colours_of_palettes_and_cmyk_stay(kind: str, mode: str) -> None:
    from PIL import Image

    image = Image.new("RGB", (16, 16), RED)
    stored = image.quantize(4) if mode == "P" else image.convert(mode)
    assert close(read_picture(saved(stored, kind)).getpixel((8, 8)), RED)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_become_eight(kind: str) -> None:
    import numpy as np
    from PIL import Image

    grey = np.array([[0, 257, 32896, 65535]], np.uint16)
    found = read_picture(saved(Image.fromarray(grey), kind))
    assert [found.getpixel((x, 0)) for x in range(4)] == [(0, 0, 0), (1, 1, 1), (128, 128, 128), (255, 255, 255)]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (1, 0)), (3, (1, 1)), (4, (0, 1)), (5, (0, 0)), (6, (1, 0)), (7, (1, 1)), (8, (0, 1))],
)
def test_a_picture_is_turned_upright(kind: str, orientation: int, corner: tuple[int, int]) -> None:
    """The Exif standard's tag 0x0112: in which corner the first pixel that is stored belongs."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.new("RGB", (64, 32), RED)
    stored.paste(BLUE, (0, 0, 16, 16))
    found = read_picture(saved(stored, kind, exif=exif))
    assert found.size == ((64, 32) if orientation < 5 else (32, 64))
    right, low = corner
    assert close(found.getpixel((right * (found.width - 5) + 2, low * (found.height - 5) + 2)), BLUE, 12)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_picture_counts(kind: str) -> None:
    from PIL import Image

    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    assert close(read_picture(saved(frames[0], kind, save_all=True, append_images=frames[1:])).getpixel((4, 4)), RED, 6)


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG that says that it has this size, with these packed pixels in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + (chunk(b"IDAT", pixels) if pixels else b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7_100, 10_000, 20_000, 100_000, 2**31 - 1])
def test_too_many_pixels_are_refused_before_decoding(side: int) -> None:
    assert side * side > MAX_PIXELS
    with pytest.raises(BadInput, match=r"^image: .*pixels"):
        read_picture(png(side, side))


def test_a_line_of_pixels_is_refused() -> None:
    read_picture(saved(plain(4 * MAX_RATIO, 4), "PNG"))
    with pytest.raises(BadInput, match=r"^image: .*side"):
        read_picture(saved(plain(4 * MAX_RATIO + 1, 4), "PNG"))
    with pytest.raises(BadInput, match=r"^image: .*side"):
        read_picture(saved(plain(4, 4 * MAX_RATIO + 1), "PNG"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"BM" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        png(9, 9),
        png(9, 9, zlib.compress(bytes(20))),  # ends too early
        picture("JPEG")[:-60],
        picture("PNG")[:60],
    ],
)
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match=r"^image: "):
        read_picture(data)


def test_pixels_beyond_the_picture_are_not_unpacked() -> None:
    bomb = png(9, 9, zlib.compress(bytes(30_000_000)))
    assert len(bomb) < 40_000
    assert read_picture(bomb).size == (9, 9)


def test_the_error_names_the_given_field() -> None:
    with pytest.raises(BadInput, match=r"^other: "):
        read_picture(b"hello", "other")


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "EPS", "PDF", "PCX"])
def test_formats_that_nobody_posts_are_not_opened(kind: str) -> None:
    with pytest.raises(BadInput, match="JPEG, PNG, WebP, GIF, BMP, TIFF"):
        read_picture(picture(kind))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4)), min_size=1, max_size=6),
)
def test_a_damaged_picture_is_a_picture_or_refused(kind: str, changes: list[tuple[int, bytes]]) -> None:
    data = picture(kind)
    for at, piece in changes:
        at %= len(data)
        data = data[:at] + piece + data[at + len(piece) :] if piece else data[: max(at, 1)]
    try:
        found = read_picture(data).mode
    except BadInput as error:
        found = str(error)
    assert found == "RGB" or found.startswith("image: ")
