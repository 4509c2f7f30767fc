"""image-segmentation: a picture in, its segments out, each with a label and a mask of its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Fraction, Media, Picture
from ..media.pictures import PNG, encode_mask, label_map, max_input_pixels, read_picture, refuse_size_errors, shrink
from ..models.loading import load_pipeline

if TYPE_CHECKING:
    from PIL.Image import Image

SUBTASKS = ("panoptic", "instance", "semantic")
# Each class, or each query of a model that has queries, gets a map of floats as large as the picture. All maps together have at
# most half a gigabyte; what is made of them needs as much again. The work for each pixel alone costs as much as 16 maps.
MAX_VALUES = 1 << 27
MIN_MAPS = 16


class Request(runner.Request):
    """The picture to segment, and how."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    subtask: Literal["panoptic", "instance", "semantic"] | None = Field(
        None, description="what a segment is; null takes the first of panoptic, instance, semantic that the model can do"
    )
    threshold: Fraction = Field(0.9, description="a segment's lowest score; not for semantic")
    mask_threshold: Fraction = Field(0.5, description="the lowest probability of a pixel in a mask; not for semantic")
    overlap_mask_area_threshold: Fraction = Field(
        0.5, description="how much of a mask other masks must leave uncovered; for panoptic"
    )


class Segment(BaseModel):
    """A part of the picture."""

    label: str = Field(description="the class's name in the model's id2label")
    score: float | None = Field(description="null for semantic segments")
    mask: Media = Field(description="PNG as large as the picture: white in the segment, else black")


class Answer(runner.Answer):
    """The segments of a picture."""

    file_type = PNG

    width: int = Field(description="of the upright picture, in pixels")
    height: int
    segments: list[Segment] = Field(
        description="in the model's order; as image/png they are one picture whose grey value is the segment's place, from 1"
    )

    def file(self) -> bytes:
        """The segments in one picture, as PNG."""
        return label_map([segment.mask for segment in self.segments], (self.width, self.height))


class Runner(runner.Runner[Request, Answer]):
    """A model that segments pictures, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = pipeline = load_pipeline("image-segmentation", folder)
        self._subtasks = [each for each in SUBTASKS if hasattr(pipeline.image_processor, f"post_process_{each}_segmentation")]
        config = pipeline.model.config
        parts = (config, getattr(config, "decoder_config", None))  # MaskFormer's queries are its decoder's
        maps = max(MIN_MAPS, config.num_labels, *(getattr(part, "num_queries", 0) for part in parts))
        self.max_pixels = min(max_input_pixels(pipeline.image_processor), MAX_VALUES // maps)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a subtask that this model does not have."""
        if request.subtask not in (None, *self._subtasks):
            raise runner.BadInput(f"subtask: this model can do {' or '.join(self._subtasks)}, not {request.subtask}")
        image = read_picture(request.image)
        with refuse_size_errors(image):
            found = self.pipeline(
                shrink(image, self.max_pixels),
                subtask=request.subtask,
                threshold=request.threshold,
                mask_threshold=request.mask_threshold,
                overlap_mask_area_threshold=request.overlap_mask_area_threshold,
            )
        return Answer(width=image.width, height=image.height, segments=[_segment(entry, image.size) for entry in found])


class _Found(TypedDict):
    """A segment as the pipeline returns it."""

    label: str
    score: float | None
    mask: Image


def _segment(entry: _Found, size: tuple[int, int]) -> Segment:
    """The segment for the answer; ``size`` is the picture's width and height."""
    import numpy as np

    return Segment(label=entry["label"], score=entry["score"], mask=encode_mask(np.asarray(entry["mask"]) > 0, size))
