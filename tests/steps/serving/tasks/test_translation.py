"""Models whose tokenizers are nothing but SentencePiece: Marian, of one pair or of several targets, and M2M-100."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks.translation import Request, Runner
from steps.tasks.table import TASKS
from steps.tasks.text import SENTENCE

pytestmark = pytest.mark.slow

MARKS = (">>fra<<", ">>deu<<")
LAYERS = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
SIZES = {"d_model": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 128, **LAYERS}
HABITS = {"no_repeat_ngram_size": 2, "max_length": 40, "num_beams": 2}


def sentencepiece() -> tuple[bytes, list[str]]:
    """A model of the golden sentence, as SentencePiece saves it, and its pieces."""
    from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

    saved = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([SENTENCE] * 10), model_writer=saved, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    read = SentencePieceProcessor(model_proto=saved.getvalue())
    return saved.getvalue(), [read.IdToPiece(index) for index in range(3, read.GetPieceSize())]


def save_marian(folder: Path, *marks: str) -> None:
    """As Helsinki-NLP publishes them: two SentencePiece models and one vocabulary, the padding last."""
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    model, pieces = sentencepiece()
    words = ["</s>", "<unk>", *pieces, *marks, "<pad>"]
    paths = {name: folder / name for name in ("source.spm", "target.spm", "vocab.json")}
    paths["source.spm"].write_bytes(model)
    paths["target.spm"].write_bytes(model)
    paths["vocab.json"].write_text(json.dumps({word: index for index, word in enumerate(words)}))
    MarianTokenizer(*map(str, paths.values()), source_lang="en", target_lang="de").save_pretrained(folder)
    torch.manual_seed(7)
    padding = len(words) - 1
    ends = {"pad_token_id": padding, "decoder_start_token_id": padding, "eos_token_id": 0, "forced_eos_token_id": 0}
    translator = MarianMTModel(MarianConfig(vocab_size=len(words), init_std=0.5, **SIZES, **ends))
    translator.generation_config.update(**HABITS, bad_words_ids=[[padding]])
    translator.save_pretrained(folder)


def save_m2m100(folder: Path) -> None:
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    model, pieces = sentencepiece()
    words = ["<s>", "<pad>", "</s>", "<unk>", *pieces]
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    tokenizer = M2M100Tokenizer(str(folder / "vocab.json"), str(folder / "sentencepiece.bpe.model"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(7)
    # Behind the vocabulary come the tokens of a hundred languages, and eight that mean nothing.
    translator = M2M100ForConditionalGeneration(M2M100Config(vocab_size=len(words) + 108, init_std=0.5, **SIZES))
    translator.generation_config.update(**HABITS, suppress_tokens=[0, 1, 2, 3])
    translator.save_pretrained(folder)


def by_library(folder: Path, text: str, source: str = "", **settings: Any) -> str:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if source:
        tokenizer.src_lang = source
        settings["forced_bos_token_id"] = tokenizer.get_lang_id(settings.pop("target"))
    [row] = AutoModelForSeq2SeqLM.from_pretrained(folder).generate(
        **tokenizer(text, return_tensors="pt"), max_new_tokens=20, do_sample=False, **settings
    )
    return str(tokenizer.decode(row[1 + bool(source) :], skip_special_tokens=True))


def fits(folder: Path) -> None:
    files = frozenset(path.name for path in folder.iterdir())
    assert TASKS["translation"].mismatch(json.loads((folder / "config.json").read_text()), files) is None


def test_marian_translates_its_pair(tmp_path: Path) -> None:
    save_marian(tmp_path)
    fits(tmp_path)
    runner = Runner(tmp_path)
    answer = runner.predict(Request(text=SENTENCE, max_new_tokens=20))
    assert len(answer.text) > 5
    assert answer.text == by_library(tmp_path, SENTENCE)
    with pytest.raises(BadInput, match=r"^target_language: the model takes none"):
        runner.predict(Request(text=SENTENCE, target_language="deu"))


def test_marian_of_several_targets_is_told_one(tmp_path: Path) -> None:
    save_marian(tmp_path, *MARKS)
    runner = Runner(tmp_path)
    answers = {}
    for language in ("fra", "deu"):
        answers[language] = runner.predict(Request(text=SENTENCE, max_new_tokens=20, target_language=language)).text
        assert answers[language] == by_library(tmp_path, f">>{language}<< {SENTENCE}")
    assert answers["fra"] != answers["deu"]
    assert runner.predict(Request(text=SENTENCE, max_new_tokens=20)).text == answers["deu"]
    with pytest.raises(BadInput, match=r"^target_language: the model has no language 'tlh'"):
        runner.predict(Request(text=SENTENCE, target_language="tlh"))


def test_m2m100_is_told_both_languages(tmp_path: Path) -> None:
    save_m2m100(tmp_path)
    fits(tmp_path)
    runner = Runner(tmp_path)
    asked = Request(text=SENTENCE, max_new_tokens=20, source_language="en", target_language="fr")
    answer = runner.predict(asked)
    assert len(answer.text) > 5
    assert answer.text == by_library(tmp_path, SENTENCE, "en", target="fr")
    with pytest.raises(BadInput, match=r"^source_language: the model has no language"):
        runner.predict(Request(text=SENTENCE, source_language="tlh"))


@pytest.mark.parametrize(("file", "name"), [("spiece.model", "T5Tokenizer"), ("sentencepiece.bpe.model", "MBartTokenizer")])
def test_a_sentencepiece_file_alone_is_enough(file: str, name: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    (tmp_path / file).write_bytes(sentencepiece()[0])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert read.decode(read(SENTENCE)["input_ids"], skip_special_tokens=True) == SENTENCE
