"""image-to-text: a picture in, what the model writes about it out: a caption, or the text that is in it.

The task is gone from transformers 5; the picture goes into the model as its last pipeline sent it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from .. import runner
from ..fields import Picture
from ..media.pictures import read_picture
from ..models.generation import extract_generation_settings, generate
from ..models.loading import load_model
from ..models.max_length import max_length


class Request(runner.Request):
    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    max_new_tokens: Annotated[int, Field(ge=1, le=1024)] = Field(64, description="how many tokens to write at most")


class Answer(runner.Answer):
    text: str = Field(description="what the model wrote")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer

        self._processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self._model = load_model(folder, "AutoModelForImageTextToText")
        # As its author meant it to write: in which language, how many ways at once.
        self._settings = {"do_sample": False, **extract_generation_settings(self._model)}
        self._settings.pop("max_length", None)
        self._most = max_length(self._model, "decoder") - 2  # a model begins with one or two tokens of its own

    def predict(self, request: Request) -> Answer:
        inputs = self._processor(read_picture(request.image), return_tensors="pt").to(dtype=self._model.dtype)
        settings = {**self._settings, "max_new_tokens": min(request.max_new_tokens, self._most)}
        [written] = generate(self._model, inputs, 0, settings)
        return Answer(text=self._tokenizer.decode(written, skip_special_tokens=True).strip())
