"""summarization: a text in, a shorter one that says the same out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from .. import runner
from ..models.text_to_text import TextToTextAnswer, TextToTextModel, TextToTextRequest


class Request(TextToTextRequest):
    pass


class Answer(TextToTextAnswer):
    text: str = Field(description="the summary")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._rewriter = TextToTextModel(folder)

    def predict(self, request: Request) -> Answer:
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        return self._rewriter.write([self._rewriter.plan(each, task="summarization") for each in requests], Answer)
