"""feature-extraction: a text in, its vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from .. import runner
from ..fields import Text
from ..models.loading import load_pipeline


class Request(runner.Request):
    """The text, and which vectors to return."""

    text: Text = Field(description="the text; if it is longer than the model can hold, its end is cut off")
    pooling: Literal["none", "mean", "first"] = Field(
        "none", description="one vector for each token (none), their mean, or the first; special tokens are included"
    )


class Answer(runner.Answer):
    """The vectors of a text."""

    features: list[list[float]] = Field(description="one vector for each token; only one if pooling is mean or first")


class Runner(runner.Runner[Request, Answer]):
    """A model of texts without a head."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("feature-extraction", folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests in one batch."""
        import torch

        pipeline, answers = self.pipeline, []
        texts = [request.text for request in requests]
        inputs = pipeline.tokenizer(
            texts, truncation=True, padding=len(texts) > 1 and pipeline.tokenizer.pad_token is not None, return_tensors="pt"
        )
        with torch.inference_mode():
            states = pipeline.model(**inputs)[0]
        for request, mask, vectors in zip(requests, inputs["attention_mask"].bool(), states, strict=True):
            own = vectors[mask]  # without the padding
            if request.pooling == "first":
                own = own[:1]
            elif request.pooling == "mean":
                own = own.mean(dim=0, keepdim=True)
            answers.append(Answer(features=own.float().tolist()))
        return answers
