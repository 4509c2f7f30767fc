"""visual-question-answering: a picture and a question in, answers out.

transformers 5 has no pipeline for it. There are two kinds of models: ViLT chooses among the answers that it was trained on, and
BLIP writes one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Picture, TopK
from ..media.pictures import read_picture
from ..models.generation import check_tokens, extract_generation_settings, generate
from ..models.loading import load_model
from ..models.max_length import max_length

if TYPE_CHECKING:
    from torch import Tensor


class Request(runner.Request):
    """A question about a picture."""

    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    question: Annotated[str, Field(min_length=1, max_length=2000)] = Field(description="a question about the picture")
    top_k: TopK = Field(5, description="how many answers to return; a model that writes its answer returns one")


class Reply(BaseModel):
    """One answer."""

    answer: str
    score: float | None = Field(description="between 0 and 1, for each answer alone; null from a model that writes its answer")


class Answer(runner.Answer):
    """The answers to a question."""

    answers: list[Reply] = Field(description="the best answers, best first")


class Runner(runner.Runner[Request, Answer]):
    """A model that chooses an answer (ViLT) or writes one (BLIP)."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer

        self.processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.model = load_model(folder, "AutoModelForVisualQuestionAnswering")
        self._max_length = max_length(self.model, "decoder")
        if self.model.can_generate():
            extract_generation_settings(self.model)  # an answer of a word or two needs none of them

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a question that is too long for the model."""
        tokens = self.tokenizer(request.question, return_tensors="pt")
        if (length := tokens["input_ids"].shape[1]) > self._max_length:
            raise runner.BadInput(f"question: {length} tokens; this model reads {self._max_length} at most")
        check_tokens(self.model, tokens["input_ids"][0].tolist(), "question")
        pixels = self.processor(read_picture(request.image), return_tensors="pt").to(dtype=self.model.dtype)
        inputs = {**tokens, **pixels}
        return Answer(answers=self._generate(inputs) if self.model.can_generate() else self._choose(inputs, request.top_k))

    def _generate(self, inputs: dict[str, Tensor]) -> list[Reply]:
        [tokens] = generate(self.model, inputs, 0, {"do_sample": False, "max_new_tokens": min(32, self._max_length - 2)})
        return [Reply(answer=self.tokenizer.decode(tokens, skip_special_tokens=True).strip(), score=None)]

    def _choose(self, inputs: dict[str, Tensor], top_k: int) -> list[Reply]:
        import torch

        names = self.model.config.id2label
        with torch.inference_mode():
            scores = self.model(**inputs).logits[0].float().sigmoid()
        best = scores.topk(min(top_k, len(scores)))
        return [
            Reply(answer=names[index], score=score)
            for score, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
