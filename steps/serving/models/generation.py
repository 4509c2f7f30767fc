"""What the tasks that generate text share: the fields that say how, the author's settings, and one call of ``generate``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from .. import runner
from ..runner import BadInput
from .library import Encoding, Model

if TYPE_CHECKING:
    from torch import Tensor

MAX_NEW_TOKENS = 4096
MIN_TEMPERATURE = 0.01  # dividing by a smaller one overflows, and would draw the most likely token anyway
# What is read of a model's generation_config.json. Left out is what would start another way of generating (other models,
# compiled code, answers of another kind), and how tokens are drawn: the request says that.
TOKEN_SETTINGS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "bad_words_ids", "suppress_tokens")
GENERATION_SETTINGS = (
    *("forced_bos_token_id", "forced_eos_token_id", "begin_suppress_tokens", "min_length", "max_length", "max_new_tokens"),
    *("num_beams", "early_stopping", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size"),
    *("repetition_penalty", "renormalize_logits"),
)

Settings = dict[str, object]  # arguments of ``generate``


class Sampling(runner.Request):
    """The fields that say how each token is chosen."""

    temperature: float = Field(
        0, ge=0, le=2, description="0 takes the most likely token each time; the higher, the more is left to chance"
    )
    top_p: float = Field(1, gt=0, le=1, description="draw from the most likely tokens that together have this probability")
    top_k: int = Field(50, ge=0, le=1000, description="draw from this many of the most likely tokens; 0: from all")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="the same request with the same seed gives the same text")
    repetition_penalty: float = Field(1, ge=0.5, le=2, description="above 1, tokens that occurred already become less likely")

    def sampled(self) -> bool:
        """Whether tokens are drawn at random."""
        return self.temperature >= MIN_TEMPERATURE

    def settings(self) -> Settings:
        """The fields as arguments of ``generate``."""
        drawn = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k} if self.sampled() else {}
        return {"do_sample": self.sampled(), "repetition_penalty": self.repetition_penalty, **drawn}


class GeneratedText(runner.Answer):
    """A text that a model wrote."""

    text: str = Field(description="what the model wrote")
    finish_reason: Literal["length", "stop"] = Field(
        description="stop: the model ended the text; length: the text has as many tokens as requested or as the model can hold"
    )
    prompt_tokens: int = Field(description="how many tokens the model read")
    new_tokens: int = Field(description="how many tokens the model wrote, including the one that ends a text")


def extract_generation_settings(model: Model) -> Settings:
    """Return the author's ``GENERATION_SETTINGS`` and leave the model only its ``TOKEN_SETTINGS``."""
    from transformers import GenerationConfig

    own = {name: value for name, value in model.generation_config.to_dict().items() if value is not None}
    model.generation_config = GenerationConfig(**{name: own[name] for name in TOKEN_SETTINGS if name in own})
    return {name: own[name] for name in GENERATION_SETTINGS if name in own}


def generate_token_ids(
    model: Model, inputs: Encoding | Mapping[str, Tensor], seed: int, settings: Mapping[str, object]
) -> list[list[int]]:
    """The tokens that a model writes for each row of ``inputs``; a model without an encoder repeats the prompt's before them.

    Raises ``BadInput`` for a token that the model does not have.
    """
    check_tokens(model, inputs["input_ids"].flatten().tolist(), "body")
    rows: list[list[int]] = generate(model, inputs, seed, settings).tolist()
    return rows


def generate(model: Model, inputs: Encoding | Mapping[str, Tensor], seed: int, settings: Mapping[str, object]) -> Tensor:
    """The tokens that a model writes for a prepared batch, of shape (rows, tokens).

    Args:
        model: A model that generates.
        inputs: The batch, by the names of the model's arguments.
        seed: For what is drawn at random; the generator of the process is as before afterwards.
        settings: Further arguments of the model's ``generate``.
    """
    import torch

    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model.generate(**inputs, **settings)


def check_tokens(model: Model, tokens: Iterable[int], field: str) -> None:
    """Raise ``BadInput`` for a token that the tokenizer has and the model does not."""
    if max(tokens, default=0) >= model.config.get_text_config(decoder=True).vocab_size:
        raise BadInput(f"{field}: a token in it is not one of the model's; leave out what is written like <this> or [this]")


def end_tokens(model: Model) -> set[int]:
    """The tokens that end a text."""
    value = model.generation_config.eos_token_id
    if value is None:
        return set()
    return set(value) if isinstance(value, Sequence) else {value}
