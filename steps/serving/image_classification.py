"""image-classification: a picture in, labels with scores out."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from .pipeline import BadInput, open_pipeline

MAX_PIXELS = 50_000_000
# Pillow knows dozens more; some are rarely tested code, one starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


class Label(BaseModel):
    label: str = Field(description="the class's name, from the model's id2label")
    score: float = Field(ge=0, le=1)


class Answer(BaseModel):
    labels: list[Label] = Field(description="the best classes, best first")


class Runner:
    """The loaded model. ``predict`` may be called from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._pipeline = open_pipeline("image-classification", folder)

    def predict(self, image: Path, top_k: int = 5) -> Answer:
        """Classify one picture file (JPEG, PNG, WebP, …). Raises ``BadInput`` for anything else."""
        found = self._pipeline(read_image(image), top_k=top_k)
        return Answer(labels=[Label(label=entry["label"], score=min(1.0, entry["score"])) for entry in found])


def read_image(path: Path):  # type: ignore[no-untyped-def]  # PIL is imported where it is used
    """The picture as RGB, turned upright by its EXIF orientation."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BadInput(f"image: {image.width}x{image.height} pixels; up to {MAX_PIXELS} are read")
            return ImageOps.exif_transpose(image).convert("RGB")
    except BadInput:
        raise
    except Exception:  # decoders raise what they like: OSError, ValueError, SyntaxError, struct.error, …
        raise BadInput("image: this is no picture that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF)") from None
