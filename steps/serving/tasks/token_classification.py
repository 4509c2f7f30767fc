"""token-classification: a text in, the words that mean something out, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Text
from ..models.loading import load_pipeline


class Request(runner.Request):
    text: Text = Field(description="the text")
    aggregation: Literal["none", "simple", "first", "average", "max"] = Field(
        "simple", description="how pieces of words are put together; transformers' aggregation_strategy"
    )


class Entity(BaseModel):
    entity: str = Field(description="the label; a group's name unless aggregation is none")
    score: float
    word: str
    start: int | None = Field(description="first character in the text; null where the tokenizer does not tell")
    end: int | None = Field(description="one behind the last character")


class Answer(runner.Answer):
    entities: list[Entity] = Field(description="in the order of the text")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = load_pipeline("token-classification", folder)

    def predict(self, request: Request) -> Answer:
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        for aggregation in dict.fromkeys(request.aggregation for request in requests):
            group = [index for index, request in enumerate(requests) if request.aggregation == aggregation]
            texts = [requests[index].text for index in group]
            found = self._pipeline(texts, aggregation_strategy=aggregation, batch_size=len(texts))
            answers.update(zip(group, map(_answer, found), strict=True))
        return [answers[index] for index in range(len(requests))]


def _answer(found: Sequence[dict[str, Any]]) -> Answer:
    return Answer(
        entities=[
            Entity(
                entity=entry.get("entity_group", entry.get("entity")),
                score=float(entry["score"]),
                word=entry["word"],
                start=entry["start"],
                end=entry["end"],
            )
            for entry in found
        ]
    )
