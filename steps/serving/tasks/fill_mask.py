"""fill-mask: a text with gaps in, the words that fit into each gap out.

Clients write a gap as ``[MASK]`` and need not know the model's own sign for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from .. import runner
from ..fields import ShortTexts, Text
from ..models.loading import load_pipeline

MASK = "[MASK]"
MAX_MASKS = 16


class Request(runner.Request):
    text: Text = Field(
        description=f"the text with 1 to {MAX_MASKS} gaps, each written {MASK}; what the model cannot hold is cut off"
    )
    top_k: int = Field(5, ge=1, le=100, description="how many tokens to return for each gap")
    targets: ShortTexts | None = Field(
        None, description="only these may fill a gap; each must be one token of the model, where a leading space may count"
    )


class Fill(BaseModel):
    """One way to fill a gap."""

    token: str = Field(description="what fills the gap, as a text")
    token_id: int
    score: float = Field(description="its probability in this gap, among all the model's tokens")
    text: str = Field(description=f"the whole text with it, as the model's tokenizer writes texts; other gaps stay {MASK}")


class Answer(runner.Answer):
    fills: list[list[Fill]] = Field(description="for each gap, in the order of the text, its best tokens, best first")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        opened = load_pipeline("fill-mask", folder)  # raises for a tokenizer without a mask
        self._model, self._tokenizer = opened.model, opened.tokenizer

    def predict(self, request: Request) -> Answer:
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        import torch

        tokenizer = self._tokenizer
        texts = [request.text.replace(MASK, tokenizer.mask_token) for request in requests]
        encoded = tokenizer(texts, truncation=True, padding=len(texts) > 1, return_tensors="pt", verbose=False)
        for ids in encoded["input_ids"]:
            gaps = int((ids == tokenizer.mask_token_id).sum())
            if not gaps:
                raise runner.BadInput(f"text: it has no {MASK} in the first {len(ids)} tokens, which are all that is read")
            if gaps > MAX_MASKS:
                raise runner.BadInput(f"text: {gaps} times {MASK}; at most {MAX_MASKS} gaps are filled")
        with torch.inference_mode():
            logits = self._model(**encoded).logits.float()
        return [
            Answer(fills=self._fills(request, ids, each))
            for request, ids, each in zip(requests, encoded["input_ids"], logits, strict=True)
        ]

    def _fills(self, request: Request, ids: Any, logits: Any) -> list[list[Fill]]:
        """``ids``: [tokens], ``logits``: [tokens, vocabulary] of one text, padding included."""
        import torch

        places = (ids == self._tokenizer.mask_token_id).nonzero().flatten()
        choice = torch.arange(logits.shape[-1])
        if request.targets is not None:
            choice = torch.tensor(list({self._token(each, len(choice)): None for each in request.targets}))
        scores, best = logits[places].softmax(-1)[:, choice].topk(min(request.top_k, len(choice)))
        return [
            [self._fill(ids.tolist(), place, token, score) for token, score in zip(choice[found].tolist(), values, strict=True)]
            for place, found, values in zip(places.tolist(), best, scores.tolist(), strict=True)
        ]

    def _fill(self, ids: list[int], place: int, token: int, score: float) -> Fill:
        tokenizer = self._tokenizer
        signs = set(tokenizer.all_special_ids) - {tokenizer.mask_token_id}  # padding among them
        whole = [token if at == place else each for at, each in enumerate(ids) if at == place or each not in signs]
        text = tokenizer.decode(whole).replace(tokenizer.mask_token, MASK)
        return Fill(token=tokenizer.decode([token]), token_id=token, score=score, text=text)

    def _token(self, target: str, vocabulary: int) -> int:
        """A target's token: the very entry of the vocabulary, or what the tokenizer makes of it if that is one token."""
        tokenizer = self._tokenizer
        pieces = [tokenizer.convert_tokens_to_ids(target)]
        if pieces[0] in (None, tokenizer.unk_token_id):
            pieces = tokenizer(target, add_special_tokens=False)["input_ids"]
        if len(pieces) != 1 or pieces[0] == tokenizer.unk_token_id or pieces[0] >= vocabulary:
            raise runner.BadInput(f"targets: {target!r} is not one token of this model; leave it out")
        return int(pieces[0])
