"""zero-shot-image-classification: a picture and labels in, how well each label fits out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Label, Picture, ShortText, ShortTexts
from ..media.pictures import read_picture
from ..models.candidate_labels import check_label_lengths
from ..models.loading import load_pipeline


class Request(runner.Request):
    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    candidate_labels: ShortTexts = Field(description="what it may show, a name or a few words each")
    hypothesis_template: ShortText = Field(
        "This is a photo of {}.", description="the sentence that the model compares the picture with; {} stands for the label"
    )


class Answer(runner.Answer):
    labels: list[Label] = Field(
        description="the labels of the request, best first; scores add up to 1, or stand each alone if the model is a SigLIP"
    )


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = load_pipeline("zero-shot-image-classification", folder)

    def predict(self, request: Request) -> Answer:
        image = read_picture(request.image)
        if "{}" not in request.hypothesis_template:
            raise runner.BadInput("hypothesis_template: put {} where the label belongs")
        # Filled in here: the library uses str.format, in which a client could ask for a billion spaces.
        texts = {request.hypothesis_template.replace("{}", label): label for label in request.candidate_labels}
        check_label_lengths(self._pipeline, list(texts))
        found = self._pipeline(image, candidate_labels=list(texts), hypothesis_template="{}")
        return Answer(labels=[Label(label=texts[entry["label"]], score=entry["score"]) for entry in found])
