"""any-to-any: a text, with a picture or a sound or both if the model takes them, in; the text that it answers out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import OptionalPicture, OptionalSound
from ..media.pictures import read_picture
from ..media.sounds import read_sound
from ..models.generation import Sampling
from ..models.prompts import NewTokens, Prompt, PromptedModel


class Request(Sampling):
    """The prompt with what belongs to it, and how to generate."""

    prompt: Prompt = Field(description="the text: a chat model answers it, any other continues it")
    image: OptionalPicture = Field(None, description="a picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    audio: OptionalSound = Field(None, description="a sound, for models that take one: WAV, FLAC, MP3, OGG or AIFF")
    max_new_tokens: NewTokens = Field(128, description="how many tokens to write at most; fewer if the model can hold no more")


class Answer(runner.Answer):
    """The text that the model wrote."""

    text: str = Field(description="what the model wrote, without the prompt")


class Runner(runner.Runner[Request, Answer]):
    """A model that generates text, with the processor for what it takes beside text."""

    def __init__(self, folder: Path) -> None:
        self.model = PromptedModel(folder, "AutoModelForMultimodalLM")

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a picture or a sound that this model does not take."""
        media = self._read_media(request)
        text = self.model.generate(request.prompt, media, max_new_tokens=request.max_new_tokens, sampling=request)
        return Answer(text=text)

    def _read_media(self, request: Request) -> dict[str, object]:
        """What comes with the prompt, decoded. A processor ignores what its model does not take, so that is refused here."""
        processor = self.model.processor
        media: dict[str, object] = {}
        if request.image is not None:
            if not hasattr(processor, "image_processor"):
                raise runner.BadInput("image: this model takes no pictures; leave it out")
            media["image"] = read_picture(request.image)
        if request.audio is not None:
            extractor = getattr(processor, "feature_extractor", getattr(processor, "audio_processor", None))
            if extractor is None:
                raise runner.BadInput("audio: this model takes no sound; leave it out")
            media["audio"] = read_sound(request.audio, extractor.sampling_rate)
        return media
