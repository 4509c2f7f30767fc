"""text2text-generation: a text in, whatever text the model was trained to make of it out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import runner
from ..models.generation import Sampling
from ..models.text_to_text import PreparedText, TextToTextAnswer, TextToTextModel, TextToTextRequest


class Request(TextToTextRequest, Sampling):
    """The text that the model reads, and how to generate."""


class Answer(TextToTextAnswer):
    """The text that the model wrote."""


class Runner(runner.Runner[Request, Answer]):
    """An encoder-decoder model."""

    def __init__(self, folder: Path) -> None:
        self.model = TextToTextModel(folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests, in one batch where they generate alike; what is drawn at random is answered alone."""
        return self.model.generate([self.prepare(request) for request in requests], Answer)

    def prepare(self, request: Request) -> PreparedText:
        """The request's tokens and how to generate."""
        return self.model.prepare(request)
