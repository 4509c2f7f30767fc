"""Asking a model that writes: a text in, with a picture or a sound beside it, and the text that the model goes on with.

Shared by the tasks whose models take a prompt. transformers' own pipelines are not used for it: ``any-to-any`` insists on
torchvision, and none of them looks for the model's own marks in a user's text, or how long a prompt is, before it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ..runner import BadInput
from .generation import check_tokens, extract_generation_settings, generate
from .loading import load_model
from .max_length import max_length

Prompt = Annotated[str, Field(min_length=1, max_length=20_000)]
NewTokens = Annotated[int, Field(ge=1, le=1024)]


class PromptedModel:
    """A model that writes, and its processor. ``auto`` is the auto class of transformers that opens the model."""

    def __init__(self, folder: Path, auto: str) -> None:
        self.processor = load_processor(folder)
        self.model = load_model(folder, auto)
        extract_generation_settings(self.model)  # how to write, the request says
        self._positions = max_length(self.model, "decoder")
        known = self.processor.tokenizer.added_tokens_decoder.values()
        self._marks = sorted(token.content for token in known if token.special and not token.content.isspace())

    def ask(
        self,
        prompt: str,
        media: Mapping[str, Any],
        *,
        max_new_tokens: int,
        seed: int = 0,
        settings: Mapping[str, Any] = MappingProxyType({"do_sample": False}),
    ) -> str:
        """What the model writes after ``prompt``; ``settings`` say how, as arguments of ``generate``.

        ``media`` may hold an ``image`` (PIL) and an ``audio`` (samples at the processor's rate). Raises ``BadInput``.
        """
        check_tokens(self.model, self.processor.tokenizer(prompt, verbose=False)["input_ids"], "prompt")
        inputs = self._inputs(prompt, media).to(dtype=self.model.dtype)
        tokens = inputs["input_ids"][0]
        if len(tokens) >= self._positions:
            raise BadInput(f"prompt: {len(tokens)} tokens with what is sent beside it; the model holds {self._positions}")
        most = min(max_new_tokens, self._positions - len(tokens))
        return self._new(tokens, generate(self.model, inputs, seed, {**settings, "max_new_tokens": most})[0])

    def _inputs(self, prompt: str, media: Mapping[str, Any]) -> Any:
        processor = self.processor
        fields = {"image": "images", "audio": "audio"}
        named = {fields[kind]: value for kind, value in media.items()}
        # Who chats does not write the picture's mark, and ends nobody's turn. (transformers can encode such a text as plain
        # text, but not for all tokenizers and processors.) A model that goes on with a text may be steered by marks.
        if processor.chat_template is not None and (mark := next((mark for mark in self._marks if mark in prompt), None)):
            raise BadInput(f"prompt: it holds {mark}, which only the model's own chat template writes; leave it out")
        try:
            if processor.chat_template is not None:
                parts = [*({"type": kind, kind: value} for kind, value in media.items()), {"type": "text", "text": prompt}]
                return processor.apply_chat_template(
                    [{"role": "user", "content": parts}],
                    add_generation_prompt=True,
                    tokenize=True,
                    return_dict=True,
                    return_tensors="pt",
                )
            try:
                return processor(text=prompt, **named, return_tensors="pt")
            except ValueError:
                # Some processors put the picture's mark in front by themselves, others want it in the text.
                marks = "".join(getattr(processor, f"{kind}_token", None) or "" for kind in media)
                return processor(text=f"{marks}\n{prompt}", **named, return_tensors="pt")
        except (ValueError, TypeError) as error:  # a picture of 1 by 1000 pixels, a mark too many, …
            field = next(iter(media), "prompt")
            raise BadInput(f"{field}: the model's processor does not take it: {' '.join(str(error).split())[:200]}") from None

    def _new(self, prompt: Any, written: Any) -> str:
        """The text that came after the prompt, as transformers' pipelines tell them apart: most models repeat the prompt, some
        with other marks around it.
        """
        before, text = (str(self.processor.tokenizer.decode(each, skip_special_tokens=True)) for each in (prompt, written))
        return text.removeprefix(before)


def load_processor(folder: Path) -> Any:
    """The processor in ``folder``; without its part for films, if it has one, because that part needs torchvision."""
    import transformers

    kind = _processor_class(folder)
    if kind is transformers.SmolVLMProcessor:
        # It wants a package that writes numbers in words, for films alone. What it makes of pictures is Idefics3's.
        return transformers.Idefics3Processor.from_pretrained(folder, trust_remote_code=False)
    if kind is not None and "video_processor" in kind.get_attributes():
        return _without_films(kind, folder)
    return transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False)


def _processor_class(folder: Path) -> Any:
    """The class that ``AutoProcessor`` would take, or None where it would not find one."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (folder / file).exists() and (name := json.loads((folder / file).read_text()).get("processor_class")):
            return getattr(transformers, name, None)
    name = PROCESSOR_MAPPING_NAMES.get(json.loads((folder / "config.json").read_text()).get("model_type"))
    return getattr(transformers, name) if name else None


class _NoFilms(dict[str, Any]):
    """Stands in a processor where the one for films would be; a dictionary, because processors write themselves to the log."""

    model_input_names: ClassVar[list[str]] = []


def _without_films(kind: Any, folder: Path) -> Any:
    import transformers

    class Processor(kind):  # type: ignore[misc]
        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor":
                return _NoFilms
            return super().check_argument_for_proper_class(argument_name, argument)

    autos = {
        "tokenizer": transformers.AutoTokenizer,
        "image_processor": transformers.AutoImageProcessor,
        "feature_extractor": transformers.AutoFeatureExtractor,
    }
    parts = [
        _NoFilms() if part == "video_processor" else autos[part].from_pretrained(folder, trust_remote_code=False)
        for part in kind.get_attributes()
    ]
    settings, _ = kind.get_processor_dict(folder)
    return Processor.from_args_and_dict(parts, settings)
