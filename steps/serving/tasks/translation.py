"""translation: a text in one language in, the same in another out.

How languages are passed to a model depends on its architecture. NLLB, M2M-100 and mBART have a token for each language: the
source's comes with the text, and the target's is the first token that is generated or the one that generation starts from.
Marian's models with several targets read ``>>fra<<`` before the text, and T5 the sentence for the pair
from its ``config.json``. Other models translate one pair of languages and are passed none.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from .. import runner
from ..models.library import Tokenizer
from ..models.text_to_text import PreparedText, TextToTextAnswer, TextToTextModel, TextToTextRequest
from ..runner import BadInput

Language = Annotated[str, Field(min_length=1, max_length=50)]
# The default target where neither the request nor the model says one: the first of these that the model knows.
DEFAULT_TARGETS = ("deu", "de", "fra", "fr")


class Request(TextToTextRequest):
    """The text to translate, and the languages where the model needs to be told them."""

    source_language: Language | None = Field(
        None, description="the text's language as the model names it, such as eng_Latn, en_XX or en; null: the model's default"
    )
    target_language: Language | None = Field(
        None, description="the language to translate into, named likewise; null: the model's default, else German or French"
    )


class Answer(TextToTextAnswer):
    """The translation."""

    text: str = Field(description="the translation")


class Runner(runner.Runner[Request, Answer]):
    """An encoder-decoder model, and how languages are passed to it.

    ``language_tokens`` are the languages that it has tokens for, by their codes; empty for models that have none.
    """

    def __init__(self, folder: Path) -> None:
        self.model = TextToTextModel(folder)
        tokenizer = self.model.tokenizer
        self.language_tokens = find_language_tokens(tokenizer)
        self._default_source: str | None = getattr(tokenizer, "src_lang", None)
        self._default_target: str | None = getattr(tokenizer, "tgt_lang", None)
        # The first mBART starts from the target's token; all later models generate it first.
        start, first = (self.model.setting(name) for name in ("decoder_start_token_id", "forced_bos_token_id"))
        known = set(self.language_tokens.values())
        self._target_setting = "decoder_start_token_id" if start in known else "forced_bos_token_id"
        self._has_target = start in known or first in known
        self._target_codes = [code.strip("<>") for code in getattr(tokenizer, "supported_language_codes", None) or ()]
        found = (re.fullmatch(r"translation_(\w+)_to_(\w+)", name) for name in self.model.tasks())
        self._pairs = [(match[1], match[2]) for match in found if match]

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a language that the model does not have."""
        return self.predict_all([request])[0]

    def predict_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests, in one batch where they translate into the same language."""
        return self.model.generate([self.prepare(request) for request in requests], Answer)

    def prepare(self, request: Request) -> PreparedText:
        """The request's tokens and how to generate. Raises ``BadInput`` as ``predict`` does."""
        if self.language_tokens:
            return self._prepare_with_tokens(request)
        if self._pairs:
            source, target = request.source_language, request.target_language
            _check("source_language", source, [pair[0] for pair in self._pairs])
            _check("target_language", target, [pair[1] for pair in self._pairs if source in (None, pair[0])])
            pair = next(pair for pair in self._pairs if source in (None, pair[0]) and target in (None, pair[1]))
            return self.model.prepare(request, task="translation_{}_to_{}".format(*pair))
        _check("source_language", request.source_language, [])
        _check("target_language", request.target_language, self._target_codes)
        target = request.target_language
        if target is None and self._target_codes and not request.text.startswith(">>"):  # the text may say it itself
            target = _default_target(self._target_codes)
        return self.model.prepare(request, task="translation", prefix=f">>{target}<< " if target else "")

    def _prepare_with_tokens(self, request: Request) -> PreparedText:
        source, target = request.source_language or self._default_source, request.target_language or self._default_target
        _check("source_language", source, self.language_tokens)
        _check("target_language", target, self.language_tokens)
        settings: dict[str, object] = {}
        if target is not None:
            settings[self._target_setting] = self.language_tokens[target]
        elif not self._has_target:
            settings[self._target_setting] = self.language_tokens[
                _default_target(code for code in self.language_tokens if code != source)
            ]
        self.model.tokenizer.src_lang = source
        return self.model.prepare(request, task="translation", settings=settings)


def find_language_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """The languages that a tokenizer has tokens for: the token's id by the language's code."""
    if not hasattr(tokenizer, "src_lang"):
        return {}
    known = getattr(tokenizer, "lang_code_to_id", None)
    if known is None:  # NLLB's has them among its special tokens
        codes = [token for token in tokenizer.all_special_tokens if re.fullmatch(r"[a-z]{3}_[A-Z][a-z]{3}", token)]
        known = {code: tokenizer.convert_tokens_to_ids(code) for code in codes}
    return {code: token for code, token in known.items() if token != tokenizer.unk_token_id}


def _default_target(codes: Iterable[str]) -> str:
    """The code of ``DEFAULT_TARGETS``' first language that is among ``codes``, else the first code."""
    known = list(codes)
    return next(
        (code for default in DEFAULT_TARGETS for code in known if re.split("[_-]", code.strip("_"))[0] == default), known[0]
    )


def _check(field: str, code: str | None, known: Iterable[str]) -> None:
    """Raise ``BadInput`` for a language that the model does not have."""
    codes = sorted(set(known))
    if code is None or code in codes:
        return
    if not codes:
        raise BadInput(f"{field}: the model takes none; leave the field out")
    near = difflib.get_close_matches(code, codes, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}" if near else f"it knows {', '.join(codes[:20])}{' and more' * (len(codes) > 20)}"
    raise BadInput(f"{field}: the model has no language {code!r}; {hint}")
