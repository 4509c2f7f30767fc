"""text-classification: a text in, labels with scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Label, Text, TopK
from ..models.loading import load_pipeline


class Request(runner.Request):
    """The text to classify."""

    text: Text = Field(description="the text; if it is longer than the model can hold, its end is cut off")
    top_k: TopK = Field(5, description="how many classes to return")


class Answer(runner.Answer):
    """The classes of a text."""

    labels: list[Label] = Field(description="the best classes, best first; names are those of the model's id2label")


class Runner(runner.Runner[Request, Answer]):
    """A model that classifies texts, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("text-classification", folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests in one batch."""
        texts = [request.text for request in requests]
        top_k = max(request.top_k for request in requests)
        found = self.pipeline(texts, top_k=top_k, truncation=True, batch_size=len(texts))
        return [
            Answer(labels=[Label(label=entry["label"], score=entry["score"]) for entry in labels[: request.top_k]])
            for request, labels in zip(requests, found, strict=True)
        ]
