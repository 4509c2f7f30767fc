"""question-answering beyond its golden request: windows, words, the empty answer, and texts of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steps.serving.runner import BadInput
from steps.serving.tasks.question_answering import Answer, Request, Runner, Span
from steps.tasks.text import STORY
from tests.steps.tasks.text_cases import save_pair_model
from tests.tiny_models import MAX_LENGTH, VOCABULARY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pair_model("BertForQuestionAnswering", tmp_path_factory.mktemp("answerer"))


@pytest.fixture(scope="module")
def reader(folder: Path) -> Runner:
    return Runner(folder)


@pytest.fixture(scope="module")
def crane_finder(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A model that takes the word ``crane`` for the answer to everything, and else says that the text does not tell."""
    import torch
    from transformers import BertForQuestionAnswering

    folder = save_pair_model("BertForQuestionAnswering", tmp_path_factory.mktemp("finder"))
    model = BertForQuestionAnswering.from_pretrained(folder)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            # Nothing but the words goes through: sublayers add nothing, and words are told apart by one number.
            keep = "LayerNorm.weight" in name
            weights.fill_(1.0 if keep else 0.0)
        table = model.bert.embeddings.word_embeddings.weight
        table[:, 0], table[:, 1] = 1.0, -1.0
        table[VOCABULARY.index("crane"), :2] = torch.tensor([-1.0, 1.0])
        table[VOCABULARY.index("[CLS]"), :2] = torch.tensor([0.0, 0.0])
        table[VOCABULARY.index("[CLS]"), 2:4] = torch.tensor([1.0, -1.0])
        model.qa_outputs.weight[:, 0] = -2.0
        model.qa_outputs.weight[:, 2] = 1.0
    model.save_pretrained(folder)
    return Runner(folder)


def ask(runner: Runner, **fields: Any) -> list[Span]:
    return runner.predict(Request(**{"question": "What was busy?", "context": STORY, **fields})).answers


@pytest.mark.parametrize("before", [0, 30, 43, 64, 200, 1000])
def test_an_answer_is_found_in_any_window(crane_finder: Runner, before: int) -> None:
    context = "ship " * before + "The crane. " + "yard " * 50
    [best] = ask(crane_finder, context=context)
    assert (best.answer, best.start, best.end) == ("crane", 5 * before + 4, 5 * before + 9)
    assert best.score > 0.5


def test_an_empty_answer_is_given_if_allowed(crane_finder: Runner) -> None:
    for length in (1, 500):
        context = "ship " * length
        [nothing] = ask(crane_finder, context=context, allow_no_answer=True)
        assert (nothing.answer, nothing.start, nothing.end) == ("", 0, 0)
        assert ask(crane_finder, context=context)[0].answer
    assert ask(crane_finder, context="ship " * 500 + "crane", allow_no_answer=True)[0].answer == "crane"


def test_answers_are_whole_words_unless_asked_otherwise(reader: Runner) -> None:
    context = "cranes ships cranes"  # pieces: crane ##s ship ##s crane ##s
    whole = ask(reader, context=context, top_k=100)
    assert {each.answer for each in whole} == {*context.split(), "cranes ships", "ships cranes", context}
    pieces = ask(reader, context=context, top_k=100, align_to_words=False)
    assert {"crane", "s", "s ship"} <= {each.answer for each in pieces}


def test_an_answer_has_no_more_tokens_than_requested(reader: Runner) -> None:
    for most in (1, 2, 5):
        answers = ask(reader, top_k=100, max_answer_length=most, align_to_words=False)
        assert max(len(reader.tokenizer.tokenize(each.answer)) for each in answers) == most


def test_a_batch_gives_the_same_answers(reader: Runner) -> None:
    requests = [Request(question="Who?", context=text, top_k=3) for text in (STORY, "Ada", STORY * 3)]
    for together, request in zip(reader.predict_all(requests), requests, strict=True):
        alone = reader.predict(request).answers
        assert [(each.start, each.end) for each in together.answers] == [(each.start, each.end) for each in alone]
        assert [each.score for each in together.answers] == pytest.approx([each.score for each in alone], rel=1e-4)


def test_a_question_must_leave_room_for_the_text(reader: Runner) -> None:
    most = MAX_LENGTH // 3 - 3
    assert ask(reader, question="ship " * most)
    with pytest.raises(BadInput, match=rf"^question: it has {most + 1} tokens; this model reads {most} at most"):
        ask(reader, question="ship " * (most + 1))


def test_a_text_in_too_many_parts_is_refused(reader: Runner) -> None:
    with pytest.raises(BadInput, match=r"^context: the model would read it in \d{4} parts, of 512 at most"):
        ask(reader, context="." * 100_000)


def test_left_padding_models_read_the_text_first(folder: Path, tmp_path: Path) -> None:
    import shutil

    from transformers import AutoTokenizer

    copy = shutil.copytree(folder, tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.padding_side = "left"
    tokenizer.save_pretrained(copy)
    answers = ask(Runner(copy), context=STORY * 2, top_k=20)
    assert len(answers) == 20
    assert all((STORY * 2)[each.start : each.end] == each.answer for each in answers)
    assert max(each.start for each in answers) > len(STORY)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    question=st.text(min_size=1, max_size=8),
    context=st.one_of(
        st.text(min_size=1, max_size=60),
        st.lists(st.sampled_from(["crane", "ships", "[SEP]", "[CLS]", " ", "\n", "\u200d", "\u2603", "é", "中文"])).map(
            "".join
        ),
    ),
    top_k=st.integers(1, 100),
    allow_no_answer=st.booleans(),
    align_to_words=st.booleans(),
)
def test_any_text_gets_places_within_it(reader: Runner, **fields: Any) -> None:
    try:
        answers: list[Span] | str = reader.predict(Request(**fields)).answers
    except ValueError as error:  # BadInput, or a field that is too short
        answers = str(error)
    if isinstance(answers, str):
        assert "context" in answers
        return
    context = fields["context"]
    assert Answer.model_validate_json(Answer(answers=answers).model_dump_json()).answers == answers
    assert [each.score for each in answers] == sorted((each.score for each in answers), reverse=True)
    assert len({(each.start, each.end) for each in answers}) == len(answers) <= fields["top_k"]
    for each in answers:
        assert each.answer == context[each.start : each.end]
        assert 0 <= each.score <= 1.0001
        assert each.answer.strip() or (fields["allow_no_answer"] and not each.end)
