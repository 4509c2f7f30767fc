"""smoke: a service that answers otherwise than its model, or does not start, does not pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.archive import STEP as ARCHIVE
from steps.archive import ArchiveInputs
from steps.core.documents import ModelFacts, RenderedPackage
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.receipts import execute
from steps.smoke import STEP, TOLERANCE, SmokeInputs, difference
from tests.steps.packages import Made

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1000, 1000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


def smoke_error(made: Made, facts: str) -> SlipwayError:
    inputs = SmokeInputs(service=made.service, archive=made.archive, archive_digest=made.digest, facts=facts)
    with pytest.raises(SlipwayError) as caught:
        execute(STEP, inputs, made.context)
    assert list((made.root / "tmp").iterdir()) == []
    assert not [child for child in psutil.Process().children() if "bentoml" in " ".join(child.cmdline())]
    assert caught.value.reason.exit_code is ExitCode.MODEL
    return caught.value


def with_code(made: Made, root: Path, old: str, new: str) -> Made:
    """The same package with other code in it."""
    copy = made.copied_to(root)
    rendered = copy.context.read_document(copy.render, RenderedPackage)
    service = rendered.files["src/service.py"]
    assert old in service
    files = rendered.files | {"src/service.py": service.replace(old, new)}
    render = copy.context.publish_document("renders", rendered.model_copy(update={"files": files}))
    inputs = ArchiveInputs(name="tiny", service=copy.service, lock=copy.lock, render=render)
    archived = execute(ARCHIVE, inputs, copy.context).outputs
    return Made(root, copy.service, copy.fetched, copy.lock, copy.facts, render, archived.archive, archived.archive_digest)


@pytest.mark.slow
def test_another_answer_than_the_models_fails(classifier: Made, tmp_path: Path) -> None:
    made = classifier.copied_to(tmp_path / "store")
    facts = made.context.read_document(made.facts, ModelFacts)
    expected = facts.expected[made.service]
    first, *others = cast(list[dict[str, float]], expected.answer["labels"])
    answer = {"labels": [{**first, "score": first["score"] + 0.01}, *others]}
    wrong = facts.model_copy(update={"expected": {made.service: expected.model_copy(update={"answer": answer})}})
    error = smoke_error(made, made.context.publish_document("facts", wrong))
    assert error.reason is Reason.SMOKE_MISMATCH
    assert "answer.labels[0].score is " in error.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import bentoml\n", "import bentoml\nraise RuntimeError('broken at import')\n", "broken at import"),
        ("self.queue = ", "raise RuntimeError('broken at start')\n        self.queue = ", "broken at start"),
        ("self.queue = ", "import os; print('all gone', flush=True); os._exit(9)\n        self.queue = ", "all gone"),
    ],
    ids=["import", "start", "killed"],
)
def test_a_failed_start_shows_the_log(classifier: Made, tmp_path: Path, old: str, new: str, message: str) -> None:
    made = with_code(classifier, tmp_path / "store", old, new)
    error = smoke_error(made, made.facts)
    assert error.reason is Reason.BOOT_FAILED
    assert message in error.message
    assert len(error.message.splitlines()) < 20


@pytest.mark.slow
def test_facts_must_have_the_tasks_answer(classifier: Made, tmp_path: Path) -> None:
    inputs = SmokeInputs(
        service="feature-extraction", archive=classifier.archive, archive_digest=classifier.digest, facts=classifier.facts
    )
    with pytest.raises(SlipwayError, match="has no golden answer for feature-extraction") as caught:
        execute(STEP, inputs, classifier.context)
    assert caught.value.reason is Reason.INVALID_INPUT


@pytest.mark.slow
@given(JSON)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert difference(value, value) == 0


@pytest.mark.parametrize(
    ("expected", "found", "apart"),
    [
        ({"a": 0.5}, {"a": 0.5 + TOLERANCE / 2}, TOLERANCE / 2),
        ([1.0, 1000.0], [1.0, 1000.0 + 999 * TOLERANCE], 999 * TOLERANCE),
        ({"a": 1}, {"a": 1.0}, 0.0),
        ({"a": [0.1, 0.2], "b": 0.3}, {"b": 0.3 + 1e-5, "a": [0.1, 0.2 + 2e-5]}, 2e-5),
        ({}, {}, 0.0),
        ([], [], 0.0),
    ],
)
def test_numbers_may_differ_by_rounding(expected: Any, found: Any, apart: float) -> None:
    assert difference(expected, found) == pytest.approx(apart)


@pytest.mark.parametrize(
    ("expected", "found", "where"),
    [
        ({"a": 0.5}, {"a": 0.5002}, "answer.a is 0.5002, not 0.5"),
        ({"a": 0.5}, {"b": 0.5}, "answer is {'b': 0.5}"),
        ({"a": 0.5}, {"a": 0.5, "b": 1}, "answer is"),
        ([0.5], [0.5, 0.5], "answer is"),
        ([["x"], ["y"]], [["x"], ["z"]], "answer[1][0] is 'z', not 'y'"),
        ({"score": 0.5}, {"score": None}, "answer.score is None, not 0.5"),
        ({"score": None}, {"score": 0.5}, "answer.score is 0.5, not None"),
        ({"score": float("nan")}, {"score": float("nan")}, "answer.score is nan"),
        ({"score": float("inf")}, {"score": float("inf")}, "answer.score is inf"),
        (1, True, "answer is True"),
        (0, False, "answer is False"),
        (1, "1", "answer is '1'"),
        (0.5, None, "answer is None"),
        (0.5, float("nan"), "answer is nan"),
        (float("nan"), float("nan"), "answer is nan"),
        (0.5, float("inf"), "answer is inf"),
        ({"a": []}, {"a": {}}, "answer.a is {}"),
    ],
)
def test_any_other_difference_is_named(expected: Any, found: Any, where: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        difference(expected, found)
    assert caught.value.reason is Reason.SMOKE_MISMATCH
    assert where in caught.value.message
