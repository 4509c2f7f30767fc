"""zero-shot-classification: a text and labels in, how well each label fits out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from .. import runner
from ..fields import Label, ShortText, ShortTexts, Text
from ..models.loading import load_pipeline

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 8  # labels in one forward pass of the model


class Request(runner.Request):
    """The text, and the labels to compare it with."""

    text: Text = Field(description="the text; if it is longer than the model can hold, its end is cut off")
    candidate_labels: ShortTexts = Field(description="what the text may be about, a name or a few words each")
    multi_label: bool = Field(
        False, description="whether several labels may be true: each gets a probability of its own; else they share one"
    )
    hypothesis_template: ShortText = Field(
        "This example is {}.", description="the sentence whose truth the model judges; {} stands for the label"
    )

    @field_validator("hypothesis_template")
    @classmethod
    def one_place(cls, template: str) -> str:
        """Refuse a template without exactly one ``{}``."""
        # str.format, which the library uses, gives other braces a meaning: a client could ask for a billion spaces.
        if template.count("{}") != 1 or template.count("{") + template.count("}") != 2:
            raise ValueError("put {} exactly once, where the label belongs, and no other braces")
        return template


class Answer(runner.Answer):
    """How well each label fits the text."""

    labels: list[Label] = Field(description="the labels of the request, best first; unless multi_label, scores add up to 1")


class Runner(runner.Runner[Request, Answer]):
    """A model that judges whether one sentence follows from another (NLI)."""

    def __init__(self, folder: Path) -> None:
        # The zero-shot pipeline looks for "entailment" in label2id, which need not be there; id2label is what the gate checked.
        loaded = load_pipeline("text-classification", folder)
        self.model, self.tokenizer, config = loaded.model, loaded.tokenizer, loaded.model.config
        names = {index: name.lower() for index, name in config.id2label.items()}
        self._entailment = next(index for index, name in names.items() if name.startswith("entail"))
        last = 0 if self._entailment else len(names) - 1  # the library's guess
        self._contradiction = next((index for index, name in names.items() if name.startswith("contra")), last)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # Without a padding token of its own, a model cannot tell where the shorter texts of a batch end.
        self._batch = BATCH if config.pad_token_id is not None else 1

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a label that is too long for the model."""
        import torch

        hypotheses = [request.hypothesis_template.replace("{}", label) for label in request.candidate_labels]
        self._check_lengths(hypotheses)
        with torch.inference_mode():
            logits = torch.cat(
                [
                    self._logits(request.text, hypotheses[begin : begin + self._batch])
                    for begin in range(0, len(hypotheses), self._batch)
                ]
            )
        if request.multi_label or len(hypotheses) == 1:
            scores = logits[:, [self._contradiction, self._entailment]].softmax(-1)[:, 1]
        else:
            scores = logits[:, self._entailment].softmax(-1)
        best = scores.sort(descending=True, stable=True)
        return Answer(
            labels=[
                Label(label=request.candidate_labels[index], score=score)
                for index, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
        )

    def _logits(self, text: str, hypotheses: Sequence[str]) -> Tensor:
        """Logits of shape (hypotheses, classes). If a text and a hypothesis are too long together, the text is cut off."""
        encoded = self.tokenizer(
            [text] * len(hypotheses),
            list(hypotheses),
            truncation="only_first",
            padding=len(hypotheses) > 1,
            split_special_tokens=True,  # models like BART look for their end token, which may stand in the request
            return_tensors="pt",
            verbose=False,
        )
        return self.model(**encoded).logits.float()

    def _check_lengths(self, hypotheses: Sequence[str]) -> None:
        """Each hypothesis must fit beside at least one token of the text."""
        tokenizer = self.tokenizer
        most = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add(pair=True) - 1
        encoded = tokenizer(list(hypotheses), add_special_tokens=False, split_special_tokens=True, verbose=False)
        for index, tokens in enumerate(encoded["input_ids"]):
            if len(tokens) > most:
                raise runner.BadInput(
                    f"candidate_labels.{index}: its sentence has {len(tokens)} tokens; this model reads {most} at most"
                )
