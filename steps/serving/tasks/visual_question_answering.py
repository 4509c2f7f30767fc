"""visual-question-answering: a picture and a question in, answers out.

The task is gone from transformers 5. Its models are of two kinds: ViLT chooses among the answers that it was trained on, and
BLIP writes one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Picture, TopK
from ..media.pictures import read_picture
from ..models.generation import check_tokens, extract_generation_settings, generate
from ..models.loading import load_model
from ..models.max_length import max_length


class Request(runner.Request):
    image: Picture = Field(description="the picture: JPEG, PNG, WebP, GIF, BMP or TIFF")
    question: Annotated[str, Field(min_length=1, max_length=2000)] = Field(description="a question about the picture")
    top_k: TopK = Field(5, description="how many answers to return; a model that writes its answer gives one")


class Reply(BaseModel):
    answer: str
    score: float | None = Field(description="between 0 and 1, each answer on its own; null from a model that writes its answer")


class Answer(runner.Answer):
    answers: list[Reply] = Field(description="the best answers, best first")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer

        self._processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        self._tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self._model = load_model(folder, "AutoModelForVisualQuestionAnswering")
        self._positions = max_length(self._model, "decoder")
        if self._model.can_generate():
            extract_generation_settings(self._model)  # an answer of a word or two needs none

    def predict(self, request: Request) -> Answer:
        words = self._tokenizer(request.question, return_tensors="pt")
        if (length := words["input_ids"].shape[1]) > self._positions:
            raise runner.BadInput(f"question: {length} tokens; this model reads {self._positions} at most")
        check_tokens(self._model, words["input_ids"][0].tolist(), "question")
        seen = self._processor(read_picture(request.image), return_tensors="pt").to(dtype=self._model.dtype)
        inputs = {**words, **seen}
        return Answer(answers=self._written(inputs) if self._model.can_generate() else self._chosen(inputs, request.top_k))

    def _written(self, inputs: dict[str, Any]) -> list[Reply]:
        [written] = generate(self._model, inputs, 0, {"do_sample": False, "max_new_tokens": min(32, self._positions - 2)})
        return [Reply(answer=self._tokenizer.decode(written, skip_special_tokens=True).strip(), score=None)]

    def _chosen(self, inputs: dict[str, Any], top_k: int) -> list[Reply]:
        import torch

        names = self._model.config.id2label
        with torch.inference_mode():
            scores = self._model(**inputs).logits[0].float().sigmoid()
        best = scores.topk(min(top_k, len(scores)))
        return [Reply(answer=names[index], score=score) for score, index in zip(*map(torch.Tensor.tolist, best), strict=True)]
