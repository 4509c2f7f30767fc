"""Prompting a model that generates text: a text, with a picture or a sound beside it, and the text that the model adds.

Shared by image-text-to-text and any-to-any. transformers' own pipelines are not used for it: ``any-to-any`` needs torchvision,
and none of them checks a prompt's length, or looks for the model's special tokens in it, before the model runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ..runner import BadInput
from .generation import Sampling, check_tokens, extract_generation_settings, generate
from .library import Encoding
from .loading import load_model
from .max_length import max_length
from .processors import load_processor

if TYPE_CHECKING:
    from torch import Tensor

Prompt = Annotated[str, Field(min_length=1, max_length=20_000)]
NewTokens = Annotated[int, Field(ge=1, le=1024)]
ARGUMENTS = {"image": "images", "audio": "audio"}  # of a processor, by the name of the medium
DETERMINISTIC = Sampling()


class PromptedModel:
    """A model that generates text, and its processor."""

    def __init__(self, folder: Path, auto_class: str) -> None:
        """Load both from ``folder``; ``auto_class`` names the auto class of transformers that loads the model."""
        self.processor = load_processor(folder)
        self.model = load_model(folder, auto_class)
        extract_generation_settings(self.model)  # the request says how to generate
        self._max_length = max_length(self.model, "decoder")
        known = self.processor.tokenizer.added_tokens_decoder.values()
        self._special_tokens = sorted(token.content for token in known if token.special and not token.content.isspace())

    def generate(
        self, prompt: str, media: Mapping[str, object], *, max_new_tokens: int, sampling: Sampling = DETERMINISTIC
    ) -> str:
        """The text that the model adds to ``prompt``.

        Args:
            prompt: The text; a model with a chat template gets it as a user's message.
            media: May hold an ``image`` (a PIL image) and an ``audio`` (samples at the processor's rate, of shape (samples,)).
            max_new_tokens: How many tokens to write at most.
            sampling: How each token is chosen.

        Raises:
            BadInput: If the model or its processor does not take the prompt or what comes with it.
        """
        check_tokens(self.model, self.processor.tokenizer(prompt, verbose=False)["input_ids"], "prompt")
        inputs = self.encode(prompt, media).to(dtype=self.model.dtype)
        tokens = inputs["input_ids"][0]
        if len(tokens) >= self._max_length:
            raise BadInput(f"prompt: {len(tokens)} tokens with what is sent beside it; the model holds {self._max_length}")
        limit = min(max_new_tokens, self._max_length - len(tokens))
        [row] = generate(self.model, inputs, sampling.seed, {**sampling.settings(), "max_new_tokens": limit})
        return self._new_text(tokens, row)

    def encode(self, prompt: str, media: Mapping[str, object]) -> Encoding:
        """The model's input."""
        processor = self.processor
        chat = processor.chat_template is not None
        # In a chat, a user's text cannot stand for a picture or end a turn. (transformers can encode special tokens in a text
        # as plain text, but not with all tokenizers and processors.) A model without a chat template can be steered by them.
        if chat and (token := next((token for token in self._special_tokens if token in prompt), None)):
            raise BadInput(f"prompt: it holds {token}, which only the model's own chat template writes; leave it out")
        try:
            if chat:
                return self._encode_chat(prompt, media)
            arguments = {ARGUMENTS[medium]: value for medium, value in media.items()}
            try:
                return processor(text=prompt, **arguments, return_tensors="pt")
            except ValueError:
                # Some processors put the token of a picture before the text by themselves, others need it in the text.
                tokens = "".join(getattr(processor, f"{medium}_token", None) or "" for medium in media)
                return processor(text=f"{tokens}\n{prompt}", **arguments, return_tensors="pt")
        except (ValueError, TypeError) as error:  # a picture of 1 by 1000 pixels, a token of a picture too many, …
            field = next(iter(media), "prompt")
            raise BadInput(f"{field}: the model's processor does not take it: {' '.join(str(error).split())[:200]}") from None

    def _encode_chat(self, prompt: str, media: Mapping[str, object]) -> Encoding:
        parts = [*({"type": medium, medium: value} for medium, value in media.items()), {"type": "text", "text": prompt}]
        inputs: Encoding = self.processor.apply_chat_template(
            [{"role": "user", "content": parts}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        )
        return inputs

    def _new_text(self, prompt: Tensor, row: Tensor) -> str:
        """The text after the prompt, told apart as transformers' pipelines do.

        Most models repeat the prompt in ``row``, some with other special tokens around it.
        """
        before, text = (self.processor.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in (prompt, row))
        return text.removeprefix(before)
