"""fill-mask: a text with gaps in, the words that fit into each gap out.

Clients write a gap as ``[MASK]`` and need not know the model's own mask token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from .. import runner
from ..fields import ShortTexts, Text
from ..models.loading import load_pipeline

if TYPE_CHECKING:
    from torch import Tensor

MASK = "[MASK]"
MAX_MASKS = 16


class Request(runner.Request):
    """The text with gaps, and how they may be filled."""

    text: Text = Field(
        description=f"the text with 1 to {MAX_MASKS} gaps, each written {MASK}; if it is longer than the model can hold, "
        "its end is cut off"
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
    """What fills the gaps."""

    fills: list[list[Fill]] = Field(description="for each gap, in the order of the text, its best tokens, best first")


class Runner(runner.Runner[Request, Answer]):
    """A masked language model."""

    def __init__(self, folder: Path) -> None:
        loaded = load_pipeline("fill-mask", folder)  # raises an error for a tokenizer without a mask token
        self.model, self.tokenizer = loaded.model, loaded.tokenizer

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a text without a gap, or a target that is not one token."""
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests in one batch."""
        import torch

        tokenizer = self.tokenizer
        texts = [request.text.replace(MASK, tokenizer.mask_token) for request in requests]
        encoded = tokenizer(texts, truncation=True, padding=len(texts) > 1, return_tensors="pt", verbose=False)
        for ids in encoded["input_ids"]:
            gaps = int((ids == tokenizer.mask_token_id).sum())
            if not gaps:
                raise runner.BadInput(f"text: it has no {MASK} in the first {len(ids)} tokens, which are all that is read")
            if gaps > MAX_MASKS:
                raise runner.BadInput(f"text: {gaps} times {MASK}; at most {MAX_MASKS} gaps are filled")
        with torch.inference_mode():
            logits = self.model(**encoded).logits.float()
        return [
            Answer(fills=self._fills(request, ids, each))
            for request, ids, each in zip(requests, encoded["input_ids"], logits, strict=True)
        ]

    def _fills(self, request: Request, ids: Tensor, logits: Tensor) -> list[list[Fill]]:
        """The best tokens for each gap of one text. ``ids``: (tokens,), ``logits``: (tokens, vocabulary); padding included."""
        import torch

        places = (ids == self.tokenizer.mask_token_id).nonzero().flatten()
        choice = torch.arange(logits.shape[-1])
        if request.targets is not None:
            choice = torch.tensor(list({self._token(each, len(choice)): None for each in request.targets}))
        scores, best = logits[places].softmax(-1)[:, choice].topk(min(request.top_k, len(choice)))
        return [
            [self._fill(ids.tolist(), place, token, score) for token, score in zip(choice[found].tolist(), values, strict=True)]
            for place, found, values in zip(places.tolist(), best, scores.tolist(), strict=True)
        ]

    def _fill(self, ids: list[int], place: int, token: int, score: float) -> Fill:
        tokenizer = self.tokenizer
        special = set(tokenizer.all_special_ids) - {tokenizer.mask_token_id}  # padding among them
        whole = [token if at == place else each for at, each in enumerate(ids) if at == place or each not in special]
        text = tokenizer.decode(whole).replace(tokenizer.mask_token, MASK)
        return Fill(token=tokenizer.decode([token]), token_id=token, score=score, text=text)

    def _token(self, target: str, vocabulary: int) -> int:
        """The token of a target: its entry in the vocabulary, or what the tokenizer makes of it if that is one token."""
        tokenizer = self.tokenizer
        pieces = [tokenizer.convert_tokens_to_ids(target)]
        if pieces[0] in (None, tokenizer.unk_token_id):
            pieces = tokenizer(target, add_special_tokens=False)["input_ids"]
        if len(pieces) != 1 or pieces[0] == tokenizer.unk_token_id or pieces[0] >= vocabulary:
            raise runner.BadInput(f"targets: {target!r} is not one token of this model; leave it out")
        return int(pieces[0])
