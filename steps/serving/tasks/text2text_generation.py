"""text2text-generation: a text in, whatever the model was taught to make of it out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import runner
from ..models.generation import Sampling
from ..models.text_to_text import TextToTextAnswer, TextToTextModel, TextToTextRequest


class Request(TextToTextRequest, Sampling):
    pass


class Answer(TextToTextAnswer):
    pass


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._rewriter = TextToTextModel(folder)

    def predict(self, request: Request) -> Answer:
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        return self._rewriter.write([self._rewriter.plan(each) for each in requests], Answer)
