"""zero-shot-audio-classification: a sound and labels in, how well each label fits out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Label, ShortText, ShortTexts, Sound
from ..media.sounds import read_sound
from ..models.candidate_labels import check_label_lengths
from ..models.loading import load_pipeline


class Request(runner.Request):
    audio: Sound = Field(description="the sound: WAV, FLAC, MP3, OGG or AIFF, at any rate; up to 60 seconds")
    candidate_labels: ShortTexts = Field(description="what may be heard, a name or a few words each")
    hypothesis_template: ShortText = Field(
        "This is a sound of {}.", description="the sentence that the model compares the sound with; {} stands for the label"
    )


class Answer(runner.Answer):
    labels: list[Label] = Field(description="the labels of the request, best first; scores add up to 1")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = load_pipeline("zero-shot-audio-classification", folder)

    def predict(self, request: Request) -> Answer:
        import numpy as np

        sound = read_sound(request.audio, self._pipeline.feature_extractor.sampling_rate)
        if "{}" not in request.hypothesis_template:
            raise runner.BadInput("hypothesis_template: put {} where the label belongs")
        # Filled in here: the library uses str.format, in which a client could ask for a billion spaces.
        texts = {request.hypothesis_template.replace("{}", label): label for label in request.candidate_labels}
        check_label_lengths(self._pipeline, list(texts))
        np.random.seed(0)  # CLAP looks at ten seconds of a longer sound, and draws by chance which ones
        found = self._pipeline(sound, candidate_labels=list(texts), hypothesis_template="{}")
        return Answer(labels=[Label(label=texts[entry["label"]], score=entry["score"]) for entry in found])
