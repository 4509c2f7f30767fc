"""object-detection: a picture in, boxes around the objects in it out."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Fraction, Picture, TopK
from ..media.pictures import read_picture
from ..models.loading import load_pipeline


class Box(BaseModel):
    """In pixels of the upright picture, from its upper left corner. A box may reach a little beyond the edges."""

    xmin: int
    ymin: int
    xmax: int
    ymax: int


class DetectedObject(BaseModel):
    """One object."""

    label: str = Field(description="what it is")
    score: float
    box: Box


class Request(runner.Request):
    """The picture to look at."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    threshold: Fraction = Field(0.5, description="objects with a lower score are left out")
    top_k: TopK = Field(100, description="how many objects to return at most")


class Answer(runner.Answer):
    """The objects in a picture."""

    objects: list[DetectedObject] = Field(description="the objects, best first; labels are names of the model's id2label")


class Runner(runner.Runner[Request, Answer]):
    """A model that detects objects, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("object-detection", folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        found = self.pipeline(read_picture(request.image), threshold=request.threshold)
        best = sorted(found, key=lambda entry: -entry["score"])
        return Answer(objects=[DetectedObject.model_validate(entry) for entry in best[: request.top_k]])
