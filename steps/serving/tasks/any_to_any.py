"""any-to-any: a text in, with a picture or a sound or both if the model takes them, and the text that it answers out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from .. import runner
from ..fields import OptionalPicture, OptionalSound
from ..media.pictures import read_picture
from ..media.sounds import read_sound
from ..models.generation import Sampling
from ..models.prompts import NewTokens, Prompt, PromptedModel


class Request(Sampling):
    prompt: Prompt = Field(description="what to say to the model: a chat model answers it, any other goes on with it")
    image: OptionalPicture = Field(None, description="a picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    audio: OptionalSound = Field(None, description="a sound, for models that hear: WAV, FLAC, MP3, OGG or AIFF")
    max_new_tokens: NewTokens = Field(128, description="how many tokens to write at most; fewer where the model is full")


class Answer(runner.Answer):
    text: str = Field(description="what the model wrote, without the prompt")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._prompter = PromptedModel(folder, "AutoModelForMultimodalLM")

    def predict(self, request: Request) -> Answer:
        text = self._prompter.ask(
            request.prompt,
            self._media(request),
            max_new_tokens=request.max_new_tokens,
            seed=request.seed,
            settings=request.settings(),
        )
        return Answer(text=text)

    def _media(self, request: Request) -> dict[str, Any]:
        """What comes with the prompt. A processor would pass over in silence what its model does not take."""
        processor, media = self._prompter.processor, {}
        if request.image is not None:
            if not hasattr(processor, "image_processor"):
                raise runner.BadInput("image: this model does not see; leave the picture out")
            media["image"] = read_picture(request.image)
        if request.audio is not None:
            ears = getattr(processor, "feature_extractor", getattr(processor, "audio_processor", None))
            if ears is None:
                raise runner.BadInput("audio: this model does not hear; leave the sound out")
            media["audio"] = read_sound(request.audio, ears.sampling_rate)
        return media
