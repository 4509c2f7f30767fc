"""What clients post as a picture: it is read, or refused by name; no file makes the service fail."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steps.serving.image_classification import FORMATS, MAX_PIXELS, read_image
from steps.serving.pipeline import BadInput

# Pillow warns of what looks damaged or large; in a service that is a line in its log.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    image = Image.new("RGB", (6, 4), (200, 10, 30))
    image.putpixel((0, 0), (0, 0, 255))
    image.convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def read(data: bytes, folder: Path) -> Any:
    path = folder / "upload"
    path.write_bytes(data)
    return read_image(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_usual_formats_are_read_as_rgb(kind: str, tmp_path: Path) -> None:
    image = read(picture(kind), tmp_path)
    assert (image.mode, image.size) == ("RGB", (6, 4))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_colour_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    assert read(picture("PNG", mode), tmp_path).mode == "RGB"


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # taken with the camera turned by a quarter
    assert read(picture("JPEG", exif=exif), tmp_path).size == (4, 6)


def png(width: int, height: int) -> bytes:
    """The head of a PNG of this size, and nothing behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [7_100, 10_000, 100_000, 2**31 - 1])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_unpacked(side: int, tmp_path: Path) -> None:
    assert side * side > MAX_PIXELS
    with pytest.raises(BadInput, match=r"^image: "):
        read(png(side, side), tmp_path)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"BM" + bytes(60)],
)
def test_what_is_no_picture_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^image: "):
        read(data, tmp_path)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "EPS", "PDF", "PCX"])
def test_formats_that_nobody_posts_are_not_opened(kind: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="JPEG, PNG, WebP, GIF, BMP, TIFF"):
        read(picture(kind), tmp_path)


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4)), min_size=1, max_size=6),
)
def test_a_damaged_picture_is_a_picture_or_refused(kind: str, changes: list[tuple[int, bytes]], tmp_path: Path) -> None:
    data = picture(kind)
    for at, piece in changes:
        at %= len(data)
        data = data[:at] + piece + data[at + len(piece) :] if piece else data[: max(at, 1)]
    try:
        found = read(data, tmp_path).mode
    except BadInput as error:
        found = str(error)
    assert found == "RGB" or found.startswith("image: ")
