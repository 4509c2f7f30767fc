"""text-classification: a text in, labels with scores out."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from .pipeline import open_pipeline


class Label(BaseModel):
    label: str = Field(description="the class's name, from the model's id2label")
    score: float


class Answer(BaseModel):
    labels: list[Label] = Field(description="the best classes, best first")


class Runner:
    """The loaded model. ``predict`` may be called from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._pipeline = open_pipeline("text-classification", folder)

    def predict(self, text: str, top_k: int = 5) -> Answer:
        """Classify one text; what the model cannot hold of it is cut off at the end."""
        found = self._pipeline(text, top_k=top_k, truncation=True)
        return Answer(labels=[Label(label=entry["label"], score=entry["score"]) for entry in found])
