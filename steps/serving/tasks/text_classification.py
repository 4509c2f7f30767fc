"""text-classification: a text in, labels with scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Label, Text, TopK
from ..models.loading import load_pipeline


class Request(runner.Request):
    text: Text = Field(description="the text; what the model cannot hold of it is cut off at the end")
    top_k: TopK = Field(5, description="how many classes to return")


class Answer(runner.Answer):
    labels: list[Label] = Field(description="the best classes, best first; names are those of the model's id2label")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = load_pipeline("text-classification", folder)

    def predict(self, request: Request) -> Answer:
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        texts = [request.text for request in requests]
        most = max(request.top_k for request in requests)
        found = self._pipeline(texts, top_k=most, truncation=True, batch_size=len(texts))
        return [
            Answer(labels=[Label(label=entry["label"], score=entry["score"]) for entry in labels[: request.top_k]])
            for request, labels in zip(requests, found, strict=True)
        ]
