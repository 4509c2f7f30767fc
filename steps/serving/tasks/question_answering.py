"""question-answering: a question and a text in, the parts of the text that answer it out.

transformers 5 has the models and no pipeline for them, so this does what the pipeline of transformers 4.57 did. A long text is
read in windows that overlap. In each window every token gets a probability to be the answer's first, and one to be its last, by
a softmax over the text's tokens and the classification token, which stands for "not here". A span's score is the product of
both, and the best spans of all windows are the answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import BaseModel, Field

from .. import runner
from ..fields import Text
from ..models.loading import load_model
from ..models.max_length import max_length

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 384  # tokens, the question's included: the length that such models are trained with
MAX_WINDOWS = 512
BATCH = 16  # windows in one forward pass of the model


class Request(runner.Request):
    """A question, and the text to answer it from."""

    question: Annotated[str, Field(min_length=1, max_length=2000)] = Field(description="the question")
    context: Text = Field(description="the text that holds the answer, of any length")
    top_k: int = Field(1, ge=1, le=100, description="how many answers to return")
    max_answer_length: int = Field(15, ge=1, le=100, description="how many tokens an answer may have")
    allow_no_answer: bool = Field(
        False,
        description="whether an answer may be empty: for models that were trained on questions without an answer",
    )
    align_to_words: bool = Field(
        True, description="whether answers are made of whole words; false for languages without spaces between words"
    )


class Span(BaseModel):
    """One answer. An empty one, from 0 to 0, says that the text does not answer the question."""

    answer: str = Field(description="the part of the context from start to end")
    score: float = Field(description="between 0 and 1")
    start: int = Field(description="first character in the context")
    end: int = Field(description="one after the last character")


class Answer(runner.Answer):
    """The answers to a question."""

    answers: list[Span] = Field(description="the best answers, best first; fewer than top_k if the text has no more")


FoundSpan = tuple[int, int, float]  # first character, one after the last, score


class _Window(Protocol):
    """One window as the tokenizer returns it (``tokenizers.Encoding``); all lists have an entry for each token."""

    ids: list[int]
    sequence_ids: list[int | None]
    word_ids: list[int | None]
    offsets: list[tuple[int, int]]  # first character in the text, one after the last


class _Windows(Protocol):
    """All windows: tensors of shape (windows, tokens) by name, and the windows one by one."""

    encodings: list[_Window]

    def __getitem__(self, name: str, /) -> Tensor: ...

    def __contains__(self, name: object, /) -> bool: ...


class Runner(runner.Runner[Request, Answer]):
    """A model that finds the first and the last token of an answer."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        if not tokenizer.is_fast:
            raise ValueError("its tokenizer does not say which characters of the text a token stands for")
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token  # masked out, so any token will do
        self.model = load_model(folder, "AutoModelForQuestionAnswering")
        self._length = min(WINDOW, tokenizer.model_max_length, max_length(self.model, "encoder"))
        # A third of a window may be the question, and a third is read again in the next one.
        self._stride = self._length // 3
        # Models that pad on the left (XLNet) have learned to read the text before the question.
        self._text_is_second = tokenizer.padding_side == "right"

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a question or a text that is too long, or holds nothing."""
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests, with their windows in the same batches."""
        encoded = self._windows(requests)
        starts, ends = self._logits(encoded)
        owners = encoded["overflow_to_sample_mapping"].tolist()
        return [
            self._best(
                request,
                [
                    self._spans(request, encoded.encodings[at], starts[at], ends[at])
                    for at, owner in enumerate(owners)
                    if owner == index
                ],
            )
            for index, request in enumerate(requests)
        ]

    def _windows(self, requests: Sequence[Request]) -> _Windows:
        """The windows of all requests. Raises ``BadInput`` for a question or a text that is too long."""
        tokenizer = self.tokenizer
        most = self._stride - tokenizer.num_special_tokens_to_add(pair=True)
        questions, contexts = [request.question for request in requests], [request.context for request in requests]
        for tokens in tokenizer(questions, add_special_tokens=False, verbose=False)["input_ids"]:
            if len(tokens) > most:
                raise runner.BadInput(f"question: it has {len(tokens)} tokens; this model reads {most} at most")
        encoded: _Windows = tokenizer(
            *((questions, contexts) if self._text_is_second else (contexts, questions)),
            truncation="only_second" if self._text_is_second else "only_first",
            max_length=self._length,
            stride=self._stride,
            return_overflowing_tokens=True,
            padding=True,
            return_tensors="pt",
        )
        for count in encoded["overflow_to_sample_mapping"].bincount().tolist():
            if count > MAX_WINDOWS:
                raise runner.BadInput(f"context: the model would read it in {count} parts, of {MAX_WINDOWS} at most; split it")
        return encoded

    def _logits(self, encoded: _Windows) -> tuple[Tensor, Tensor]:
        """The logits of each token to be an answer's first one, and its last: both of shape (windows, tokens)."""
        import torch

        inputs = {name: encoded[name] for name in self.tokenizer.model_input_names if name in encoded}
        starts, ends = [], []
        with torch.inference_mode():
            for begin in range(0, len(encoded["input_ids"]), BATCH):
                output = self.model(**{name: tensor[begin : begin + BATCH] for name, tensor in inputs.items()})
                starts.append(output.start_logits.float())
                ends.append(output.end_logits.float())
        return torch.cat(starts), torch.cat(ends)

    def _spans(self, request: Request, window: _Window, start: Tensor, end: Tensor) -> tuple[float, list[FoundSpan]]:
        """One window's score for no answer, and its best spans."""
        import torch

        text = torch.tensor([each == int(self._text_is_second) for each in window.sequence_ids])
        none = [
            at
            for at, (token, sequence) in enumerate(zip(window.ids, window.sequence_ids, strict=True))
            if token == self.tokenizer.cls_token_id and sequence is None
        ][:1]
        if not text.any():
            raise runner.BadInput("context: it holds no text")
        kept = text.clone()
        kept[none] = True
        start = start.masked_fill(~kept, -torch.inf).softmax(-1)
        end = end.masked_fill(~kept, -torch.inf).softmax(-1)
        legal = (text[:, None] & text[None, :]).triu().tril(request.max_answer_length - 1)
        scores = (start[:, None] * end[None, :]).masked_fill(~legal, -1).flatten()
        # More than requested, as several become the same span when they are aligned to words.
        best = scores.topk(min(2 * request.top_k + 10, len(scores)))
        places = list(_places(window, request))
        found = []
        for score, at in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            first, last = places[at // len(text)], places[at % len(text)]
            if score >= 0:
                found.append((first[0], last[1], score))
        return sum((start[none] * end[none]).tolist()), found

    def _best(self, request: Request, windows: Sequence[tuple[float, list[FoundSpan]]]) -> Answer:
        """The answer for what ``_spans`` found in all windows of a request."""
        scores: dict[tuple[int, int], float] = {}
        for _, spans in windows:
            for start, end, score in spans:
                while start < end and request.context[start].isspace():  # some tokenizers include the space before a word
                    start += 1
                if start < end:
                    scores[start, end] = max(score, scores.get((start, end), 0.0))
        if request.allow_no_answer:
            scores[0, 0] = min(score for score, _ in windows)
        best = sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))[: request.top_k]
        return Answer(
            answers=[Span(answer=request.context[start:end], score=score, start=start, end=end) for (start, end), score in best]
        )


def _places(window: _Window, request: Request) -> Iterator[tuple[int, int]]:
    """Yield each token's place in the text, or its word's place; of a word that the window cuts, the part in the window."""
    words: dict[tuple[int | None, int | None], tuple[int, int]] = {}
    keys = list(zip(window.sequence_ids, window.word_ids, strict=True))
    for key, (start, end) in zip(keys, window.offsets, strict=True):
        first, last = words.get(key, (start, end))
        words[key] = min(first, start), max(last, end)
    for key, place in zip(keys, window.offsets, strict=True):
        yield words[key] if request.align_to_words and None not in key else place
