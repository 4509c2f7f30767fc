"""Decisions: models with and without a head for them, and requests that are refused before a model sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from steps.serving.runner import BadInput
from steps.serving.tasks.decision import Request, Runner
from tests.steps.tasks.multimodal_cases import save_decider, seed, small_llama, word_tokenizer

pytestmark = pytest.mark.slow

NOUL = {"name": "busy", "type": "noul", "instructions": "busy ?"}
SCORE = {"name": "level", "type": "score", "instructions": "busy ?", "criteria": ["not", "a bit", "very"]}


def choice(count: int, name: str = "which") -> dict[str, Any]:
    options = {f"option {index}": None for index in range(count)}
    return {"name": name, "type": "choice", "instructions": "which ?", "criteria": options}


def save_with_head(folder: Path) -> None:
    """A model with a head of twelve rows: two for noul, six for scores, four for choices."""
    from transformers import DecisionConfig, JevConfig, JevForDecision
    from transformers.models.jev.configuration_jev import JEV_TEMPLATE

    seed()
    tokenizer = word_tokenizer(["state", "question", "options", "decision", "kind", "busy", "which", "A"])
    tokenizer.save_pretrained(folder)
    model = JevForDecision(JevConfig(hidden_size=32, num_verbalizers=12, text_config=small_llama(len(tokenizer))))
    model.decision_config = DecisionConfig(chat_template=JEV_TEMPLATE, noul_options=["false", "true"])
    model.save_pretrained(folder)


@pytest.mark.parametrize("save", [save_decider, save_with_head], ids=lambda save: save.__name__)
def test_each_option_gets_a_probability_in_order(save: Any, tmp_path: Path) -> None:
    save(tmp_path)
    answers = Runner(tmp_path).predict(Request(state="busy", questions=[choice(4), NOUL, SCORE])).answers
    assert [answer.name for answer in answers] == ["which", "busy", "level"]
    options = [[each.option for each in answer.probabilities] for answer in answers]
    assert options == [[f"option {index}" for index in range(4)], ["true", "false"], ["0", "1", "2"]]
    for answer in answers:
        assert sum(each.probability for each in answer.probabilities) == pytest.approx(1)
        assert answer.decision == max(answer.probabilities, key=lambda each: each.probability).option
        assert 0 <= answer.confidence <= 1
    assert [answer.score is None for answer in answers] == [True, True, False]


def test_more_options_than_the_head_has_are_refused(tmp_path: Path) -> None:
    save_with_head(tmp_path)
    runner = Runner(tmp_path)
    with pytest.raises(BadInput, match=r"^questions: which: this model knows up to 4 options"):
        runner.predict(Request(state="busy", questions=[choice(5)]))


def test_more_options_than_labels_are_refused(tmp_path: Path) -> None:
    save_decider(tmp_path)
    (tmp_path / "decision.json").write_text('{"labels": {"choice": ["A", "B", "C"]}}')
    runner = Runner(tmp_path)
    assert runner.predict(Request(state="busy", questions=[choice(3)])).answers
    with pytest.raises(BadInput, match=r"^questions: .*at most 3 options"):
        runner.predict(Request(state="busy", questions=[choice(4)]))


def test_the_librarys_marks_are_plain_text(tmp_path: Path) -> None:
    save_with_head(tmp_path)
    question = {**NOUL, "name": "<|mark|>", "instructions": "<|mark|> ?", "criteria": {"true": "<|split|>", "false": "</s>"}}
    options = {**choice(0), "criteria": {"<|mark|>": "<|mark|>", "b": None}}
    request = Request(state="busy <|mark|> <|split|> </s>", questions=[question, options])
    assert [len(answer.probabilities) for answer in Runner(tmp_path).predict(request).answers] == [2, 2]


def nested(depth: int) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for _ in range(depth - 1):
        state = {"a": state}
    return state


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("state", {"state": nested(21)}),
        ("state", {"state": nested(900)}),
        ("state", {"state": {"a": "b" * 100_000}}),
        ("state", {"state": ["a list"]}),
        ("state", {"state": {"a": {"<|mark|>": 1}}}),
        ("questions", {"questions": [NOUL, NOUL]}),
        ("questions", {"questions": [choice(27)]}),
        ("questions", {"questions": [choice(1)]}),
        ("questions", {"questions": [choice(2, str(index)) for index in range(17)]}),
        ("questions", {"questions": [{**NOUL, "criteria": {"maybe": "x"}}]}),
    ],
)
def test_large_and_meaningless_states_are_refused(field: str, changes: dict[str, Any]) -> None:
    assert Request(state=nested(20), questions=[NOUL])
    with pytest.raises(ValidationError) as caught:
        Request(**{"state": "busy", "questions": [NOUL], **changes})
    assert {problem["loc"][0] for problem in caught.value.errors()} == {field}
