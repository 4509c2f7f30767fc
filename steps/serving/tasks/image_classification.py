"""image-classification: a picture in, labels with scores out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Label, Picture, TopK
from ..media.pictures import max_input_pixels, read_picture, refuse_size_errors, shrink
from ..models.loading import load_pipeline


class Request(runner.Request):
    """The picture to classify."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    top_k: TopK = Field(5, description="how many classes to return")


class Answer(runner.Answer):
    """The classes of a picture."""

    labels: list[Label] = Field(description="the best classes, best first; names are those of the model's id2label")


class Runner(runner.Runner[Request, Answer]):
    """A model that classifies pictures, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("image-classification", folder)
        self.max_pixels = max_input_pixels(self.pipeline.image_processor)

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        image = shrink(read_picture(request.image), self.max_pixels)
        with refuse_size_errors(image):
            found = self.pipeline(image, top_k=request.top_k)
        return Answer(labels=[Label(label=entry["label"], score=min(1.0, entry["score"])) for entry in found])
