"""audio-classification: a sound in, labels with scores out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Label, Sound, TopK
from ..media.sounds import read_sound
from ..models.loading import load_pipeline


class Request(runner.Request):
    """The sound to classify."""

    audio: Sound = Field(description="the sound: WAV, FLAC, MP3, OGG or AIFF, at any rate; up to 60 seconds")
    top_k: TopK = Field(5, description="how many classes to return")


class Answer(runner.Answer):
    """The classes of a sound."""

    labels: list[Label] = Field(description="the best classes, best first; names are those of the model's id2label")


class Runner(runner.Runner[Request, Answer]):
    """A model that classifies sounds, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("audio-classification", folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        sound = read_sound(request.audio, self.pipeline.feature_extractor.sampling_rate)
        found = self.pipeline(sound, top_k=request.top_k)
        return Answer(labels=[Label(label=entry["label"], score=entry["score"]) for entry in found])
