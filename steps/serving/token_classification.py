"""token-classification: a text in, the words that mean something out, each with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from . import runner
from .fields import Text
from .pipeline import open_pipeline


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
        self._pipeline = open_pipeline("token-classification", folder)

    def predict(self, request: Request) -> Answer:
        found = self._pipeline(request.text, aggregation_strategy=request.aggregation)
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
