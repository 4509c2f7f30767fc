"""What summarization, translation and text2text-generation share: a model that reads a whole text and writes another.

transformers 5 has no pipelines for them. This does with the model's and the tokenizer's classes what those of transformers 4
did, with the author's settings: those of ``generation_config.json``, and those for a task that T5's ``config.json`` has in
``task_specific_params``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from pydantic import Field

from .. import runner
from ..fields import Text
from ..runner import BadInput
from .generation import (
    GENERATION_SETTINGS,
    MAX_NEW_TOKENS,
    GeneratedText,
    Sampling,
    end_tokens,
    extract_generation_settings,
    generate_token_ids,
)
from .library import Tokenizer
from .loading import load_model
from .max_length import max_length

MAX_BEAMS = 8
NO_SETTINGS: Mapping[str, object] = MappingProxyType({})
DEFAULT_MAX_LENGTH = 257  # 256 tokens after the one to start with


class TextToTextRequest(runner.Request):
    """A text to read, and how long and how thoroughly to write."""

    text: Text = Field(description="the text; if it is longer than the model can hold, its end is cut off")
    max_new_tokens: int | None = Field(
        None,
        ge=1,
        le=MAX_NEW_TOKENS,
        description="how many tokens to write at most; null: as the model's author set it, or 256",
    )
    num_beams: int | None = Field(
        None,
        ge=1,
        le=MAX_BEAMS,
        description="how many beams to search with; null: as the model's author set it, or 1",
    )


class TextToTextAnswer(GeneratedText):
    """The text that the model wrote."""

    truncated: bool = Field(description="whether the text was too long for the model, so that its end was not read")


TextToTextAnswerT = TypeVar("TextToTextAnswerT", bound=TextToTextAnswer)


@dataclass(frozen=True)
class PreparedText:
    """One text's tokens, whether its end was cut off (``truncated``), and the arguments of ``generate``."""

    tokens: list[int]
    truncated: bool
    settings: Mapping[str, object]
    max_new_tokens: int
    seed: int

    def same_batch(self, other: PreparedText) -> bool:
        """Whether both can be answered in one batch. In a batch, what is drawn at random would be drawn differently."""
        return (
            not self.settings["do_sample"] and self.settings == other.settings and self.max_new_tokens == other.max_new_tokens
        )


class TextToTextModel:
    """A model with encoder and decoder, and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        """Load both from ``folder``."""
        from transformers import AutoTokenizer

        self.tokenizer: Tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.model = load_model(folder, "AutoModelForSeq2SeqLM")
        self._author_settings = extract_generation_settings(self.model)
        self._max_read = min(self.tokenizer.model_max_length, max_length(self.model, "encoder"))
        self._max_written = max_length(self.model, "decoder") - 1  # the token to start with takes one position
        self._end_tokens = end_tokens(self.model)

    def tasks(self) -> dict[str, dict[str, object]]:
        """The tasks in T5's ``config.json`` by their names: for each its settings, and the ``prefix`` of its texts."""
        known = getattr(self.model.config, "task_specific_params", None)
        return {name: own for name, own in known.items() if isinstance(own, dict)} if isinstance(known, dict) else {}

    def setting(self, name: str) -> object:
        """One of the author's settings, by its name in ``generation_config.json``."""
        return self._author_settings.get(name, getattr(self.model.generation_config, name))

    def prepare(
        self, request: TextToTextRequest, *, task: str = "", prefix: str = "", settings: Mapping[str, object] = NO_SETTINGS
    ) -> PreparedText:
        """Encode a request's text and decide how to generate.

        Args:
            request: The request; where it says how to generate, that counts more than the author's settings.
            task: The entry of ``tasks`` whose settings and prefix are used, if there is one.
            prefix: What is put before the text.
            settings: Arguments of ``generate`` that count more than all others.

        Raises:
            BadInput: If the tokenizer finds no token in the text.
        """
        own = self.tasks().get(task, {})
        author = {**self._author_settings, **{name: value for name, value in own.items() if name in GENERATION_SETTINGS}}
        default = _integer(author.pop("max_length", DEFAULT_MAX_LENGTH)) - 1
        default = _integer(author.pop("max_new_tokens", default))
        limit = default if request.max_new_tokens is None else request.max_new_tokens
        limit = max(1, min(limit, self._max_written, MAX_NEW_TOKENS))
        beams = min(_integer(author.pop("num_beams", 1)), MAX_BEAMS)
        seed = 0
        if isinstance(request, Sampling):
            settings = {**request.settings(), **settings}
            seed, beams = request.seed, 1 if request.sampled() else beams
        beams = request.num_beams or beams
        if beams == 1:  # these two are settings of the search with beams
            author = {name: value for name, value in author.items() if name not in ("early_stopping", "length_penalty")}
        author["min_length"] = min(_integer(author.get("min_length", 0)), limit)
        tokens, truncated = self._encode(prefix + str(own.get("prefix") or "") + request.text)
        return PreparedText(tokens, truncated, {"do_sample": False, **author, "num_beams": beams, **settings}, limit, seed)

    def generate(self, texts: Sequence[PreparedText], answer_type: type[TextToTextAnswerT]) -> list[TextToTextAnswerT]:
        """Answer prepared texts, in order; those that can be in the same batch are."""
        answers: dict[int, TextToTextAnswerT] = {}
        waiting = list(range(len(texts)))
        while waiting:
            first = waiting[0]
            batch = [first, *(index for index in waiting[1:] if texts[first].same_batch(texts[index]))]
            answers.update(zip(batch, self._generate_batch([texts[index] for index in batch], answer_type), strict=True))
            waiting = [index for index in waiting if index not in answers]
        return [answers[index] for index in range(len(texts))]

    def _generate_batch(self, texts: Sequence[PreparedText], answer_type: type[TextToTextAnswerT]) -> list[TextToTextAnswerT]:
        import torch

        longest = max(len(text.tokens) for text in texts)
        padding = self.tokenizer.pad_token_id or 0
        missing = [longest - len(text.tokens) for text in texts]
        inputs = {
            "input_ids": torch.tensor([text.tokens + [padding] * gap for text, gap in zip(texts, missing, strict=True)]),
            "attention_mask": torch.tensor([[1] * (longest - gap) + [0] * gap for gap in missing]),
        }
        settings = {**texts[0].settings, "max_new_tokens": texts[0].max_new_tokens}
        rows = generate_token_ids(self.model, inputs, texts[0].seed, settings)
        return [self._answer(text, row[1:], answer_type) for text, row in zip(texts, rows, strict=True)]

    def _answer(self, text: PreparedText, row: list[int], answer_type: type[TextToTextAnswerT]) -> TextToTextAnswerT:
        """The answer for what the model wrote, in ``row`` without the token to start with."""
        end = next((index for index, token in enumerate(row) if token in self._end_tokens), None)
        # After the end, a row is filled up to the length of the longest in the batch.
        written = row[: text.max_new_tokens] if end is None else row[: end + 1]
        # The token of a language that generation had to begin with is not text; not every tokenizer knows that.
        shown = written[1:] if written[:1] == [text.settings.get("forced_bos_token_id")] else written
        forced = text.settings.get("forced_eos_token_id") is not None and len(written) == text.max_new_tokens
        return answer_type(
            text=self.tokenizer.decode(shown, skip_special_tokens=True),
            finish_reason="length" if end is None or forced else "stop",
            prompt_tokens=len(text.tokens),
            new_tokens=len(written),
            truncated=text.truncated,
        )

    def _encode(self, text: str) -> tuple[list[int], bool]:
        """A text's tokens, as many as the model can hold, and whether there were more."""
        tokens: list[int] = self.tokenizer(text, truncation=True, max_length=self._max_read)["input_ids"]
        if not tokens:
            raise BadInput("text: the model's tokenizer finds nothing in it")
        truncated = len(tokens) >= self._max_read and len(self.tokenizer(text, verbose=False)["input_ids"]) > self._max_read
        return tokens, truncated


def _integer(value: object) -> int:
    """A setting that is a number of tokens or of beams."""
    assert isinstance(value, int | float), f"{value!r} is not a number"
    return int(value)
