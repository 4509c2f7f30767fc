"""summarization: a text in, a shorter text that says the same out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from .. import runner
from ..models.text_to_text import TextToTextAnswer, TextToTextModel, TextToTextRequest


class Request(TextToTextRequest):
    """The text to summarize."""


class Answer(TextToTextAnswer):
    """The summary."""

    text: str = Field(description="the summary")


class Runner(runner.Runner[Request, Answer]):
    """An encoder-decoder model; T5 with its own settings for summaries."""

    def __init__(self, folder: Path) -> None:
        self.model = TextToTextModel(folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests, in one batch where they generate alike."""
        return self.model.generate([self.model.prepare(request, task="summarization") for request in requests], Answer)
