"""image-to-text: a picture in, a text about it out: a caption, or the text in the picture.

transformers 5 has no pipeline for it; the picture goes into the model as in the pipeline of transformers 4.
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
    """The picture to read."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    max_new_tokens: Annotated[int, Field(ge=1, le=1024)] = Field(64, description="how many tokens to write at most")


class Answer(runner.Answer):
    """The text that the model wrote."""

    text: str = Field(description="what the model wrote")


class Runner(runner.Runner[Request, Answer]):
    """A model that writes a text about a picture."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer

        self.processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.model = load_model(folder, "AutoModelForImageTextToText")
        # The author's settings, such as the language to write in and the number of beams.
        self._settings = {"do_sample": False, **extract_generation_settings(self.model)}
        self._settings.pop("max_length", None)
        self._max_new_tokens = max_length(self.model, "decoder") - 2  # the model starts with one or two tokens of its own

    def predict(self, request: Request) -> Answer:
        """Answer one request."""
        inputs = self.processor(read_picture(request.image), return_tensors="pt").to(dtype=self.model.dtype)
        settings = {**self._settings, "max_new_tokens": min(request.max_new_tokens, self._max_new_tokens)}
        [tokens] = generate(self.model, inputs, 0, settings)
        return Answer(text=self.tokenizer.decode(tokens, skip_special_tokens=True).strip())
