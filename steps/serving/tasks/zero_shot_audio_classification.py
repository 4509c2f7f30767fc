"""zero-shot-audio-classification: a sound and labels in, how well each label fits out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Label, ShortText, ShortTexts, Sound
from ..media.sounds import read_sound
from ..models.candidate_labels import check_label_lengths, label_texts
from ..models.loading import load_pipeline


class Request(runner.Request):
    """The sound, and the labels to compare it with."""

    audio: Sound = Field(description="the sound: WAV, FLAC, MP3, OGG or AIFF, at any rate; up to 60 seconds")
    candidate_labels: ShortTexts = Field(description="what the sound may be, a name or a few words each")
    hypothesis_template: ShortText = Field(
        "This is a sound of {}.", description="the sentence that the model compares the sound with; {} stands for the label"
    )


class Answer(runner.Answer):
    """How well each label fits the sound."""

    labels: list[Label] = Field(description="the labels of the request, best first; scores add up to 1")


class Runner(runner.Runner[Request, Answer]):
    """A model that compares sounds with texts, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("zero-shot-audio-classification", folder)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a label that is too long for the model."""
        import numpy as np

        sound = read_sound(request.audio, self.pipeline.feature_extractor.sampling_rate)
        texts = label_texts(request.candidate_labels, request.hypothesis_template)
        check_label_lengths(self.pipeline, list(texts))
        np.random.seed(0)  # of a longer sound, CLAP reads ten seconds, drawn at random by NumPy's global generator
        found = self.pipeline(sound, candidate_labels=list(texts), hypothesis_template="{}")
        return Answer(labels=[Label(label=texts[entry["label"]], score=entry["score"]) for entry in found])
