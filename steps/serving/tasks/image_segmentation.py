"""image-segmentation: a picture in, its segments out, each with what it shows and a mask of its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Fraction, Media, Picture
from ..media.pictures import PNG, label_map, mask, max_input_pixels, read_picture, refuse_size_errors, shrink
from ..models.loading import load_pipeline

SUBTASKS = ("panoptic", "instance", "semantic")
# Each class, or each query of a model that has them, gets a map of floats as large as the picture: half a gigabyte of them at
# most, and as much again for what is made of them. What is done for each pixel once costs as much as about 16 maps.
MAX_VALUES = 1 << 27
FEWEST_MAPS = 16


class Request(runner.Request):
    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    subtask: Literal["panoptic", "instance", "semantic"] | None = Field(
        None, description="what a segment is; null takes the first of panoptic, instance, semantic that the model can do"
    )
    threshold: Fraction = Field(0.9, description="a segment's lowest score; not for semantic, which has none")
    mask_threshold: Fraction = Field(0.5, description="from which probability on a pixel is part of a mask; not for semantic")
    overlap_mask_area_threshold: Fraction = Field(
        0.5, description="how much of a mask must be left where others lie on top; for panoptic"
    )


class Segment(BaseModel):
    label: str = Field(description="the class's name in the model's id2label")
    score: float | None = Field(description="null for semantic segments")
    mask: Media = Field(description="PNG as large as the picture: white where the segment is, else black")


class Answer(runner.Answer):
    file_type = PNG

    width: int = Field(description="the picture's, in pixels, turned upright")
    height: int
    segments: list[Segment] = Field(
        description="as the model gives them; as image/png they are one picture whose grey value is the segment's place, from 1"
    )

    def file(self) -> bytes:
        return label_map([segment.mask for segment in self.segments], (self.width, self.height))


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = pipeline = load_pipeline("image-segmentation", folder)
        self._subtasks = [each for each in SUBTASKS if hasattr(pipeline.image_processor, f"post_process_{each}_segmentation")]
        config = pipeline.model.config
        parts = (config, getattr(config, "decoder_config", None))  # MaskFormer's queries are its decoder's
        maps = max(FEWEST_MAPS, config.num_labels, *(getattr(part, "num_queries", 0) for part in parts))
        self._pixels = min(max_input_pixels(pipeline.image_processor), MAX_VALUES // maps)

    def predict(self, request: Request) -> Answer:
        if request.subtask not in (None, *self._subtasks):
            raise runner.BadInput(f"subtask: this model can do {' or '.join(self._subtasks)}, not {request.subtask}")
        image = read_picture(request.image)
        with refuse_size_errors(image):
            found = self._pipeline(
                shrink(image, self._pixels),
                subtask=request.subtask,
                threshold=request.threshold,
                mask_threshold=request.mask_threshold,
                overlap_mask_area_threshold=request.overlap_mask_area_threshold,
            )
        return Answer(width=image.width, height=image.height, segments=[segment(entry, image.size) for entry in found])


def segment(entry: dict[str, Any], size: tuple[int, int]) -> Segment:
    """A segment as the pipeline gives it, for a picture of this size."""
    import numpy as np

    return Segment(label=entry["label"], score=entry["score"], mask=mask(np.asarray(entry["mask"]) > 0, size))
