"""What the tasks share whose models read a whole text and write another: summarization, translation, text2text-generation.

transformers retired their pipelines; this does with the model's and the tokenizer's classes what those did, and as its author
meant it: ``generation_config.json``, and the settings for a task that T5's ``config.json`` has in ``task_specific_params``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

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
from .loading import load_model
from .max_length import max_length

MAX_BEAMS = 8


class TextToTextRequest(runner.Request):
    text: Text = Field(description="the text; what the model cannot hold of it is cut off at the end")
    max_new_tokens: int | None = Field(
        None,
        ge=1,
        le=MAX_NEW_TOKENS,
        description="the most tokens to write; null: as the model's author set it, or 256",
    )
    num_beams: int | None = Field(
        None,
        ge=1,
        le=MAX_BEAMS,
        description="how many ways to write it are followed at once; null: as the model's author set it, or 1",
    )


class TextToTextAnswer(GeneratedText):
    truncated: bool = Field(description="whether the text was too long for the model and its end was not read")


TextToTextAnswerT = TypeVar("TextToTextAnswerT", bound=TextToTextAnswer)


@dataclass(frozen=True)
class Plan:
    """One text's tokens, whether there were more than the model can hold, and how it is to write."""

    tokens: list[int]
    truncated: bool
    settings: Mapping[str, Any]
    seed: int

    def goes_with(self, other: Plan) -> bool:
        """Whether both can be answered in one go of the model; what is drawn by chance would be drawn differently there."""
        return not self.settings["do_sample"] and self.settings == other.settings


class TextToTextModel:
    """The model in ``folder``, an encoder with a decoder, and its tokenizer."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.model = load_model(folder, "AutoModelForSeq2SeqLM")
        self._habits = extract_generation_settings(self.model)
        self._reads = min(self.tokenizer.model_max_length, max_length(self.model, "encoder"))
        self._writes = max_length(self.model, "decoder") - 1  # before the first token stands the one to start with
        self._ends = end_tokens(self.model)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """What T5's ``config.json`` has for tasks by their names: settings, and the ``prefix`` of the texts."""
        known = getattr(self.model.config, "task_specific_params", None)
        return {name: own for name, own in known.items() if isinstance(own, dict)} if isinstance(known, dict) else {}

    def setting(self, name: str) -> Any:
        """One of the author's settings, by its name in ``generation_config.json``."""
        return self._habits.get(name, getattr(self.model.generation_config, name))

    def plan(self, request: TextToTextRequest, *, task: str = "", mark: str = "", **settings: Any) -> Plan:
        """How to answer a request: as the author set it, also for ``task``, then as the request and ``settings`` say.

        The model gets ``mark`` in front of the text. Raises ``BadInput``.
        """
        own = self.tasks().get(task, {})
        habits = {**self._habits, **{name: value for name, value in own.items() if name in GENERATION_SETTINGS}}
        length = habits.pop("max_length", 257) - 1
        most = habits.pop("max_new_tokens", length) if request.max_new_tokens is None else request.max_new_tokens
        most = max(1, min(most, self._writes, MAX_NEW_TOKENS))
        beams = min(habits.pop("num_beams", 1), MAX_BEAMS)
        seed = 0
        if isinstance(request, Sampling):
            settings = {**request.settings(), **settings}
            seed, beams = request.seed, 1 if request.sampled() else beams
        beams = request.num_beams or beams
        if beams == 1:  # without them, these mean nothing
            habits = {name: value for name, value in habits.items() if name not in ("early_stopping", "length_penalty")}
        habits["min_length"] = min(habits.get("min_length", 0), most)
        tokens, truncated = self._read(mark + str(own.get("prefix") or "") + request.text)
        settings = {"do_sample": False, **habits, "max_new_tokens": most, "num_beams": beams, **settings}
        return Plan(tokens, truncated, settings, seed)

    def write(self, plans: Sequence[Plan], kind: type[TextToTextAnswerT]) -> list[TextToTextAnswerT]:
        """Answer, in one go of the model where plans go together; in order."""
        answers: dict[int, TextToTextAnswerT] = {}
        waiting = list(range(len(plans)))
        while waiting:
            first = waiting[0]
            group = [first, *(at for at in waiting[1:] if plans[first].goes_with(plans[at]))]
            answers.update(zip(group, self._write([plans[at] for at in group], kind), strict=True))
            waiting = [at for at in waiting if at not in answers]
        return [answers[at] for at in range(len(plans))]

    def _write(self, plans: Sequence[Plan], kind: type[TextToTextAnswerT]) -> list[TextToTextAnswerT]:
        import torch

        longest = max(len(plan.tokens) for plan in plans)
        padding = self.tokenizer.pad_token_id or 0
        missing = [longest - len(plan.tokens) for plan in plans]
        inputs = {
            "input_ids": torch.tensor([plan.tokens + [padding] * gap for plan, gap in zip(plans, missing, strict=True)]),
            "attention_mask": torch.tensor([[1] * (longest - gap) + [0] * gap for gap in missing]),
        }
        rows = generate_token_ids(self.model, inputs, plans[0].seed, plans[0].settings)
        return [self._answer(plan, row[1:], kind) for plan, row in zip(plans, rows, strict=True)]

    def _answer(self, plan: Plan, row: list[int], kind: type[TextToTextAnswerT]) -> TextToTextAnswerT:
        most = plan.settings["max_new_tokens"]
        end = next((at for at, token in enumerate(row) if token in self._ends), None)
        written = row[:most] if end is None else row[: end + 1]  # behind the end, a row is filled up to the longest
        # The token that it was made to begin with, a language's, is no text; not every tokenizer knows that.
        text = written[1:] if written[:1] == [plan.settings.get("forced_bos_token_id")] else written
        forced = plan.settings.get("forced_eos_token_id") is not None and len(written) == most
        return kind(
            text=self.tokenizer.decode(text, skip_special_tokens=True),
            finish_reason="length" if end is None or forced else "stop",
            prompt_tokens=len(plan.tokens),
            new_tokens=len(written),
            truncated=plan.truncated,
        )

    def _read(self, text: str) -> tuple[list[int], bool]:
        tokens: list[int] = self.tokenizer(text, truncation=True, max_length=self._reads)["input_ids"]
        if not tokens:
            raise BadInput("text: the model's tokenizer finds nothing in it")
        return tokens, len(tokens) >= self._reads and len(self.tokenizer(text, verbose=False)["input_ids"]) > self._reads
