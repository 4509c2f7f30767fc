"""text-to-audio: a text in, speech or music out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from .. import runner
from ..fields import Media
from ..media.sounds import encode_wav
from ..models.loading import load_pipeline

MUSIC_SECONDS = 10.0


class Request(runner.Request):
    """The text to speak, or to make music of."""

    text: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="the text to speak, or a description of the music"
    )
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        0, description="speech and music are drawn at random; the same text and seed give the same sound"
    )
    speaker: Annotated[int, Field(ge=0, le=10_000)] | None = Field(
        None, description="the voice, for models with several (VITS); null: the model's first"
    )
    seconds: Annotated[float, Field(ge=1, le=30)] | None = Field(
        None, description=f"how long, for models of music (MusicGen); null: {MUSIC_SECONDS:g}"
    )


class Answer(runner.Answer):
    """The sound."""

    audio: Media = Field(description="a WAV file of 16 bits")
    sampling_rate: int = Field(description="in Hz")
    seconds: float = Field(description="how long it is")

    file_type: ClassVar[str] = "audio/wav"
    file_first: ClassVar[bool] = True

    def file(self) -> bytes:
        """The sound as WAV."""
        return self.audio.read()


class Runner(runner.Runner[Request, Answer]):
    """A model of speech or music, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("text-to-audio", folder)
        self._model_type: str = self.pipeline.model.config.model_type

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a field that means nothing to this model."""
        import torch

        options = self._options(request)
        if not self.pipeline.tokenizer.tokenize(request.text):
            raise runner.BadInput("text: the model knows none of its characters")
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            found = self.pipeline(request.text, **options)
        samples, rate = found["audio"], int(found["sampling_rate"])
        return Answer(
            audio=Media.of("audio/wav", encode_wav(samples, rate)), sampling_rate=rate, seconds=samples.shape[-1] / rate
        )

    def _options(self, request: Request) -> dict[str, object]:
        """The pipeline's options. Raises ``BadInput`` for what this model cannot do."""
        config = self.pipeline.model.config
        options: dict[str, object] = {}
        speaker = request.speaker or 0
        speakers = config.num_speakers if self._model_type == "vits" else 1
        if speaker >= speakers:
            raise runner.BadInput(f"speaker: this model has {speakers}; the first is 0")
        if speakers > 1:
            options["forward_params"] = {"speaker_id": speaker}  # without one, the model leaves out what makes a voice
        if self._model_type == "musicgen":
            seconds = request.seconds or MUSIC_SECONDS
            tokens = int(seconds * config.audio_encoder.frame_rate)
            options["generate_kwargs"] = {"max_new_tokens": tokens, "do_sample": True}  # without sampling it is a monotone
        elif request.seconds is not None:
            raise runner.BadInput("seconds: this model's speech is as long as its text takes; leave it out")
        return options
