"""zero-shot-object-detection: a picture and labels in, boxes around what the labels name out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from .. import runner
from ..fields import Fraction, Picture, ShortText, TopK
from ..media.pictures import read_picture
from ..models.candidate_labels import check_label_lengths
from ..models.loading import load_pipeline
from .object_detection import DetectedObject

# The library runs the whole model once for each label.
Labels = Annotated[list[ShortText], Field(min_length=1, max_length=20)]


class Request(runner.Request):
    """The picture, and what to look for in it."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    candidate_labels: Labels = Field(description="what to look for, a name or a few words each; time grows with their number")
    threshold: Fraction = Field(0.1, description="objects with a lower score are left out")
    top_k: TopK = Field(100, description="how many objects to return at most")


class Answer(runner.Answer):
    """The objects in a picture."""

    objects: list[DetectedObject] = Field(description="the objects, best first; labels are those of the request")


class Runner(runner.Runner[Request, Answer]):
    """A model that detects what texts name, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("zero-shot-object-detection", folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a label that is too long for the model."""
        check_label_lengths(self.pipeline, request.candidate_labels)
        found = self.pipeline(
            read_picture(request.image),
            candidate_labels=request.candidate_labels,
            threshold=request.threshold,
            top_k=request.top_k,
        )
        return Answer(objects=[DetectedObject.model_validate(entry) for entry in found])
