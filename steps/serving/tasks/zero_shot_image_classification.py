"""zero-shot-image-classification: a picture and labels in, how well each label fits out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Label, Picture, ShortText, ShortTexts
from ..media.pictures import read_picture
from ..models.candidate_labels import check_label_lengths, label_texts
from ..models.loading import load_pipeline


class Request(runner.Request):
    """The picture, and the labels to compare it with."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    candidate_labels: ShortTexts = Field(description="what it may show, a name or a few words each")
    hypothesis_template: ShortText = Field(
        "This is a photo of {}.", description="the sentence that the model compares the picture with; {} stands for the label"
    )


class Answer(runner.Answer):
    """How well each label fits the picture."""

    labels: list[Label] = Field(
        description="the labels of the request, best first; scores add up to 1, "
        "or are independent of each other if the model is a SigLIP"
    )


class Runner(runner.Runner[Request, Answer]):
    """A model that compares pictures with texts, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("zero-shot-image-classification", folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a label that is too long for the model."""
        image = read_picture(request.image)
        texts = label_texts(request.candidate_labels, request.hypothesis_template)
        check_label_lengths(self.pipeline, list(texts))
        found = self.pipeline(image, candidate_labels=list(texts), hypothesis_template="{}")
        return Answer(labels=[Label(label=texts[entry["label"]], score=entry["score"]) for entry in found])
