"""summarization, translation and text2text-generation: the author's settings, the languages, what is cut off, and batches."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from steps.serving.runner import BadInput
from steps.serving.tasks import summarization, text2text_generation, translation
from steps.tasks.text import SENTENCE
from tests.steps.tasks.generation_cases import LANGUAGES, T5_TASKS, rewrite, save_rewriter, save_translator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    save_rewriter(folder)
    return folder


@pytest.fixture(scope="module")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nllb")
    save_translator(folder)
    return folder


@pytest.fixture(scope="module")
def rewriter(t5: Path) -> text2text_generation.Runner:
    return text2text_generation.Runner(t5)


@pytest.fixture(scope="module")
def t5_translator(t5: Path) -> translation.Runner:
    return translation.Runner(t5)


@pytest.fixture(scope="module")
def translator(nllb: Path) -> translation.Runner:
    return translation.Runner(nllb)


def changed(folder: Path, to: Path, file: str, **values: Any) -> Path:
    """A copy of a model's folder with other values in one of its files."""
    shutil.copytree(folder, to)
    (to / file).write_text(json.dumps({**json.loads((to / file).read_text()), **values}))
    return to


def ask(text: str = SENTENCE, **fields: Any) -> text2text_generation.Request:
    return text2text_generation.Request(text=text, **{"max_new_tokens": 12, **fields})


def into(text: str = SENTENCE, **fields: Any) -> translation.Request:
    return translation.Request(text=text, **{"max_new_tokens": 24, **fields})


def test_a_summary_has_the_authors_length(t5: Path) -> None:
    answer = summarization.Runner(t5).predict(summarization.Request(text=SENTENCE))
    assert answer.new_tokens <= T5_TASKS["summarization"]["max_length"] - 1
    assert answer.prompt_tokens > len(SENTENCE.split())


@pytest.mark.parametrize(("own", "length"), [({"max_length": 9}, 8), ({"max_new_tokens": 7, "max_length": 9}, 7), ({}, 256)])
def test_the_author_sets_the_default_length(t5: Path, tmp_path: Path, own: dict[str, int], length: int) -> None:
    folder = changed(t5, tmp_path / "copy", "generation_config.json", **own)
    plan = text2text_generation.Runner(folder).prepare(ask(max_new_tokens=None))
    assert plan.max_new_tokens == length


def test_other_settings_of_the_author_are_ignored(t5: Path, tmp_path: Path, rewriter: text2text_generation.Runner) -> None:
    own = {"num_return_sequences": 3, "do_sample": True, "temperature": 5.0, "return_dict_in_generate": True, "max_time": 0.0}
    folder = changed(t5, tmp_path / "copy", "generation_config.json", **own, stop_strings=["a"], penalty_alpha=0.6, top_k=4)
    assert text2text_generation.Runner(folder).predict(ask()) == rewriter.predict(ask())


def test_the_request_limits_the_authors_minimum_length(t5: Path, tmp_path: Path) -> None:
    folder = changed(t5, tmp_path / "copy", "generation_config.json", min_length=50)
    assert text2text_generation.Runner(folder).predict(ask(max_new_tokens=5)).new_tokens == 5


def test_a_forced_end_counts_as_length(t5: Path, tmp_path: Path) -> None:
    folder = changed(t5, tmp_path / "copy", "generation_config.json", forced_eos_token_id=3)
    answer = text2text_generation.Runner(folder).predict(ask(max_new_tokens=5))
    assert (answer.new_tokens, answer.finish_reason) == (5, "length")


def test_a_truncated_text_is_reported(rewriter: text2text_generation.Runner) -> None:
    whole, long = rewriter.predict(ask("harbour " * 62)), rewriter.predict(ask("harbour " * 1000))
    assert (whole.prompt_tokens, whole.truncated) == (64, False)
    assert (long.prompt_tokens, long.truncated) == (64, True)
    assert long.text == whole.text


def test_a_batch_gives_the_same_texts(rewriter: text2text_generation.Runner) -> None:
    requests = [
        ask(),
        ask("the harbour", temperature=1.5, seed=4),
        ask("the harbour"),
        ask("a busy ship", num_beams=3),
        ask("a busy ship liked Hamburg"),
        ask("the harbour", temperature=1.5, seed=4),
    ]
    assert rewriter.predict_all(requests) == [rewriter.predict(request) for request in requests]


def test_requests_with_equal_settings_share_a_batch(rewriter: text2text_generation.Runner) -> None:
    taken: list[int] = []
    encoder = rewriter.model.model.get_encoder()
    hook = encoder.register_forward_hook(lambda module, inputs, output: taken.append(len(output[0])))
    drawn = [ask(temperature=1.0, seed=seed) for seed in range(2)]
    rewriter.predict_all([ask("the"), drawn[0], ask("harbour of"), drawn[1], ask("Hamburg", num_beams=2), ask("a ship")])
    hook.remove()
    assert sorted(taken) == [1, 1, 1, 3]


def test_chance_is_ruled_by_the_seed(rewriter: text2text_generation.Runner) -> None:
    texts = [[rewriter.predict(ask(temperature=1.5, seed=seed)).text for _ in range(2)] for seed in range(3)]
    assert all(one == other for one, other in texts)
    assert len({one for one, _ in texts}) == 3


@pytest.mark.parametrize(
    ("fields", "prefix"),
    [
        ({}, "translate English to German: "),
        ({"target_language": "de"}, "translate English to German: "),
        ({"source_language": "en", "target_language": "fr"}, "translate English to French: "),
    ],
)
def test_t5_is_told_the_languages_in_words(
    t5_translator: translation.Runner, rewriter: text2text_generation.Runner, fields: dict[str, str], prefix: str
) -> None:
    assert t5_translator.predict(into(**fields)).text == rewriter.predict(ask(prefix + SENTENCE, max_new_tokens=24)).text


@pytest.mark.parametrize("target", LANGUAGES[1:3])
def test_nllb_is_told_the_languages_by_their_tokens(translator: translation.Runner, nllb: Path, target: str) -> None:
    assert translator.predict(into(target_language=target)).model_dump() == rewrite(nllb, target=target)


def test_the_source_language_applies_to_one_request(translator: translation.Runner) -> None:
    known = translator.model.tokenizer.convert_tokens_to_ids
    plans = [translator.prepare(into(source_language=code)) for code in ("zho_Hans", None, "fra_Latn", None)]
    assert [plan.tokens[0] for plan in plans] == [known(code) for code in ("zho_Hans", "eng_Latn", "fra_Latn", "eng_Latn")]


@pytest.mark.parametrize(("source", "target"), [("eng_Latn", "deu_Latn"), ("deu_Latn", "fra_Latn")])
def test_german_or_french_is_the_default_target(translator: translation.Runner, source: str, target: str) -> None:
    plan = translator.prepare(into(source_language=source))
    assert plan.settings["forced_bos_token_id"] == translator.language_tokens[target]


@pytest.mark.parametrize("name", ["decoder_start_token_id", "forced_bos_token_id"])
def test_the_models_own_target_is_the_default(translator: translation.Runner, nllb: Path, tmp_path: Path, name: str) -> None:
    tokens = translator.language_tokens
    french = translation.Runner(changed(nllb, tmp_path / "copy", "generation_config.json", **{name: tokens["fra_Latn"]}))
    assert french.prepare(into()).settings.get(name) in (None, tokens["fra_Latn"])
    assert french.prepare(into(target_language="zho_Hans")).settings[name] == tokens["zho_Hans"]
    assert french.predict(into()) == french.predict(into(target_language="fra_Latn"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"target_language": "deu"}, "target_language: .* did you mean deu_Latn"),
        ({"target_language": "<s>"}, "target_language: .* it knows deu_Latn, eng_Latn"),
        ({"source_language": "English"}, "source_language: "),
    ],
)
def test_an_unknown_language_is_refused(translator: translation.Runner, fields: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=f"^{said}"):
        translator.predict(into(**fields))


@pytest.mark.parametrize("fields", [{"target_language": "eng"}, {"source_language": "de"}])
def test_an_unknown_pair_of_languages_is_refused(t5_translator: translation.Runner, fields: dict[str, str]) -> None:
    with pytest.raises(BadInput, match=rf"^{next(iter(fields))}: "):
        t5_translator.predict(into(**fields))


def test_a_model_of_one_pair_is_told_nothing(t5: Path, tmp_path: Path, rewriter: text2text_generation.Runner) -> None:
    single = translation.Runner(changed(t5, tmp_path / "copy", "config.json", task_specific_params=None))
    assert single.predict(into()).text == rewriter.predict(ask(max_new_tokens=24)).text
    with pytest.raises(BadInput, match=r"^target_language: the model takes none"):
        single.predict(into(target_language="de"))
