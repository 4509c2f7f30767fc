"""image-text-to-text: a picture and a text about it in, the text that the model writes out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Picture
from ..media.pictures import read_picture
from ..models.generation import Sampling
from ..models.prompts import NewTokens, Prompt, PromptedModel


class Request(Sampling):
    """The picture, the prompt about it, and how to generate."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    prompt: Prompt = Field(description="a text about the picture: a chat model answers it, any other continues it")
    max_new_tokens: NewTokens = Field(128, description="how many tokens to write at most; fewer if the model can hold no more")


class Answer(runner.Answer):
    """The text that the model wrote."""

    text: str = Field(description="what the model wrote, without the prompt")


class Runner(runner.Runner[Request, Answer]):
    """A model of pictures and text that generates text."""

    def __init__(self, folder: Path) -> None:
        self.model = PromptedModel(folder, "AutoModelForImageTextToText")

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        media = {"image": read_picture(request.image)}
        text = self.model.generate(request.prompt, media, max_new_tokens=request.max_new_tokens, sampling=request)
        return Answer(text=text)
