"""image-text-to-text: a picture and a text about it in, what the model writes to them out."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from .. import runner
from ..fields import Picture
from ..media.pictures import read_picture
from ..models.generation import Sampling
from ..models.prompts import NewTokens, Prompt, PromptedModel


class Request(Sampling):
    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    prompt: Prompt = Field(
        description="what to say to the model about the picture: a chat model answers it, any other goes on with it"
    )
    max_new_tokens: NewTokens = Field(128, description="how many tokens to write at most; fewer where the model is full")


class Answer(runner.Answer):
    text: str = Field(description="what the model wrote, without the prompt")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._prompter = PromptedModel(folder, "AutoModelForImageTextToText")

    def predict(self, request: Request) -> Answer:
        text = self._prompter.ask(
            request.prompt,
            {"image": read_picture(request.image)},
            max_new_tokens=request.max_new_tokens,
            seed=request.seed,
            settings=request.settings(),
        )
        return Answer(text=text)
