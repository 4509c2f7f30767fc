"""token-classification: a text in, the words that the model labels out, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Text
from ..models.loading import load_pipeline


class Request(runner.Request):
    """The text, and how tokens become entities."""

    text: Text = Field(description="the text")
    aggregation: Literal["none", "simple", "first", "average", "max"] = Field(
        "simple", description="how parts of words are joined: aggregation_strategy of transformers"
    )


class Entity(BaseModel):
    """A labelled part of the text."""

    entity: str = Field(description="the label; a group's name unless aggregation is none")
    score: float
    word: str
    start: int | None = Field(description="first character in the text; null if the tokenizer does not say")
    end: int | None = Field(description="one after the last character")


class Answer(runner.Answer):
    """The entities of a text."""

    entities: list[Entity] = Field(description="in the order of the text")


class Runner(runner.Runner[Request, Answer]):
    """A model that classifies tokens, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("token-classification", folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests; those with the same aggregation in one batch."""
        answers: dict[int, Answer] = {}
        for aggregation in dict.fromkeys(request.aggregation for request in requests):
            group = [index for index, request in enumerate(requests) if request.aggregation == aggregation]
            texts = [requests[index].text for index in group]
            found = self.pipeline(texts, aggregation_strategy=aggregation, batch_size=len(texts))
            answers.update(zip(group, map(_answer, found), strict=True))
        return [answers[index] for index in range(len(requests))]


class _Found(TypedDict, total=False):
    """An entity as the pipeline returns it: ``entity_group`` if tokens are aggregated, else ``entity``."""

    entity_group: str
    entity: str
    score: float
    word: str
    start: int | None
    end: int | None


def _answer(found: Sequence[_Found]) -> Answer:
    return Answer(
        entities=[
            Entity(
                entity=entry["entity_group"] if "entity_group" in entry else entry["entity"],
                score=float(entry["score"]),
                word=entry["word"],
                start=entry["start"],
                end=entry["end"],
            )
            for entry in found
        ]
    )
