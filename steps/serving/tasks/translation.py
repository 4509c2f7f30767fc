"""translation: a text in one language in, the same in another out.

How a model is told the languages depends on its kind. NLLB, M2M-100 and mBART have a token for each: the source's comes with
the text, the target's is the first that they write or start from. Marian's models with several targets want ``>>fra<<`` before
the text, and T5 a sentence that says what to do, from its ``config.json``. Others translate one pair, and are told nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from .. import runner
from ..models.text_to_text import Plan, TextToTextAnswer, TextToTextModel, TextToTextRequest
from ..runner import BadInput

Language = Annotated[str, Field(min_length=1, max_length=50)]
USUAL = ("deu", "de", "fra", "fr")  # what is translated into where nothing says it: the first of these that a model knows


class Request(TextToTextRequest):
    source_language: Language | None = Field(
        None, description="the text's language as the model names it: eng_Latn, en_XX or en; null: the model's usual one"
    )
    target_language: Language | None = Field(
        None, description="the language to translate into, named likewise; null: the model's usual one, else German or French"
    )


class Answer(TextToTextAnswer):
    text: str = Field(description="the translation")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._rewriter = TextToTextModel(folder)
        tokenizer = self._rewriter.tokenizer
        self._tokens = language_tokens(tokenizer)
        self._usual_source: str | None = getattr(tokenizer, "src_lang", None)
        self._usual_target: str | None = getattr(tokenizer, "tgt_lang", None)
        # The first mBART starts with the target's token; all later models write it first.
        start, first = (self._rewriter.setting(name) for name in ("decoder_start_token_id", "forced_bos_token_id"))
        known = set(self._tokens.values())
        self._told_by = "decoder_start_token_id" if start in known else "forced_bos_token_id"
        self._begins_itself = start in known or first in known
        self._marks = [mark.strip("<>") for mark in getattr(tokenizer, "supported_language_codes", None) or ()]
        found = (re.fullmatch(r"translation_(\w+)_to_(\w+)", name) for name in self._rewriter.tasks())
        self._pairs = [(match[1], match[2]) for match in found if match]

    def predict(self, request: Request) -> Answer:
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        return self._rewriter.write([self._plan(request) for request in requests], Answer)

    def _plan(self, request: Request) -> Plan:
        if self._tokens:
            return self._plan_with_tokens(request)
        if self._pairs:
            source, target = request.source_language, request.target_language
            _check("source_language", source, [pair[0] for pair in self._pairs])
            _check("target_language", target, [pair[1] for pair in self._pairs if source in (None, pair[0])])
            pair = next(pair for pair in self._pairs if source in (None, pair[0]) and target in (None, pair[1]))
            return self._rewriter.plan(request, task="translation_{}_to_{}".format(*pair))
        _check("source_language", request.source_language, [])
        _check("target_language", request.target_language, self._marks)
        mark = request.target_language
        if mark is None and self._marks and not request.text.startswith(">>"):  # the text may say it, too
            mark = _usual(self._marks)
        return self._rewriter.plan(request, task="translation", mark=f">>{mark}<< " if mark else "")

    def _plan_with_tokens(self, request: Request) -> Plan:
        source, target = request.source_language or self._usual_source, request.target_language or self._usual_target
        _check("source_language", source, self._tokens)
        _check("target_language", target, self._tokens)
        settings: dict[str, Any] = {}
        if target is not None:
            settings[self._told_by] = self._tokens[target]
        elif not self._begins_itself:
            settings[self._told_by] = self._tokens[_usual(code for code in self._tokens if code != source)]
        self._rewriter.tokenizer.src_lang = source
        return self._rewriter.plan(request, task="translation", **settings)


def language_tokens(tokenizer: Any) -> dict[str, int]:
    """The languages that a tokenizer has tokens for, by their codes."""
    if not hasattr(tokenizer, "src_lang"):
        return {}
    known = getattr(tokenizer, "lang_code_to_id", None)
    if known is None:  # NLLB's has them among its special tokens
        codes = [token for token in tokenizer.all_special_tokens if re.fullmatch(r"[a-z]{3}_[A-Z][a-z]{3}", token)]
        known = {code: tokenizer.convert_tokens_to_ids(code) for code in codes}
    return {code: token for code, token in known.items() if token != tokenizer.unk_token_id}


def _usual(codes: Iterable[str]) -> str:
    known = list(codes)
    return next((code for usual in USUAL for code in known if re.split("[_-]", code.strip("_"))[0] == usual), known[0])


def _check(field: str, code: str | None, known: Iterable[str]) -> None:
    """Raise ``BadInput`` for a language that is none of the model's."""
    codes = sorted(set(known))
    if code is None or code in codes:
        return
    if not codes:
        raise BadInput(f"{field}: the model cannot be told it; leave the field out")
    near = difflib.get_close_matches(code, codes, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}" if near else f"it knows {', '.join(codes[:20])}{' and more' * (len(codes) > 20)}"
    raise BadInput(f"{field}: the model has no language {code!r}; {hint}")
