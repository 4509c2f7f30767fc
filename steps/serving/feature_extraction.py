"""feature-extraction: a text in, its vectors out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from .pipeline import open_pipeline

Pooling = Literal["none", "mean", "first"]


class Answer(BaseModel):
    features: list[list[float]] = Field(description="one vector a token; just one when pooling is mean or first")


class Runner:
    """The loaded model. ``predict`` may be called from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._pipeline = open_pipeline("feature-extraction", folder)

    def predict(self, text: str, pooling: Pooling = "none") -> Answer:
        """The last hidden states of one text, special tokens included; cut off at what the model can hold."""
        states: list[list[float]] = self._pipeline(text, truncation=True)[0]
        if pooling == "first":
            states = states[:1]
        elif pooling == "mean":
            states = [[sum(column) / len(states) for column in zip(*states, strict=True)]]
        return Answer(features=states)
