"""keypoint-matching: two pictures in, the points that are in both out."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Fraction, Picture, TopK
from ..media.pictures import read_picture
from ..models.loading import load_pipeline


class Point(BaseModel):
    """In pixels of its upright picture, from the upper left corner."""

    x: float
    y: float


class Match(BaseModel):
    """A point that is in both pictures."""

    image: Point = Field(description="where it is in image")
    other: Point = Field(description="where it is in other")
    score: float


class Request(runner.Request):
    """The two pictures to compare."""

    image: Picture = Field(description="a picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    other: Picture = Field(description="the picture to compare it with")
    threshold: Fraction = Field(0.0, description="matches with a lower score are left out")
    top_k: TopK = Field(1000, description="how many matches to return at most")


class Answer(runner.Answer):
    """The points that are in both pictures."""

    matches: list[Match] = Field(description="the pairs of points, best first")


class Runner(runner.Runner[Request, Answer]):
    """A model that matches the points of two pictures."""

    def __init__(self, folder: Path) -> None:
        loaded = load_pipeline("keypoint-matching", folder)
        self.model, self.processor = loaded.model, loaded.image_processor

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        import torch

        images = [read_picture(request.image), read_picture(request.other, "other")]
        # Not through transformers' own pipeline: 5.23 gives the sizes as (width, height) where (height, width) is wanted,
        # so that points of any picture but a square one come out wrong.
        sizes = [[(image.height, image.width) for image in images]]
        with torch.inference_mode():
            outputs = self.model(**self.processor(images, return_tensors="pt").to(self.model.dtype))
            [found] = self.processor.post_process_keypoint_matching(outputs, target_sizes=sizes, threshold=request.threshold)
        pairs = zip(found["keypoints0"].tolist(), found["keypoints1"].tolist(), found["matching_scores"].tolist(), strict=True)
        matches = [
            Match(image=Point(x=one[0], y=one[1]), other=Point(x=two[0], y=two[1]), score=score) for one, two, score in pairs
        ]
        return Answer(matches=sorted(matches, key=lambda match: -match.score)[: request.top_k])
