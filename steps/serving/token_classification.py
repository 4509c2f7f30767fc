"""token-classification: a text in, the words that mean something out, each with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from .pipeline import open_pipeline

Aggregation = Literal["none", "simple", "first", "average", "max"]


class Entity(BaseModel):
    entity: str = Field(description="the label; a group's name unless aggregation is none")
    score: float
    word: str
    start: int | None = Field(description="first character in the text; null where the tokenizer does not tell")
    end: int | None = Field(description="one behind the last character")


class Answer(BaseModel):
    entities: list[Entity] = Field(description="in the order of the text")


class Runner:
    """The loaded model. ``predict`` may be called from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._pipeline = open_pipeline("token-classification", folder)

    def predict(self, text: str, aggregation: Aggregation = "simple") -> Answer:
        """Find the entities of one text. ``aggregation`` is transformers' ``aggregation_strategy``."""
        found = self._pipeline(text, aggregation_strategy=aggregation)
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
