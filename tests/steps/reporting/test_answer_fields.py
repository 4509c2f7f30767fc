"""Answers are shown in the form that suits their structure."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from steps.reporting.answer_fields import answer_fields
from tests.steps.reporting.json_values import JSON


def test_entities_are_marked_where_they_stand() -> None:
    def entity(word: str, start: int | None, end: int | None) -> JsonValue:
        return {"entity": "X", "score": 0.5, "word": word, "start": start, "end": end}

    entities = [entity("cd", 2, 4), entity("bc", 1, 3), entity("?", None, None), entity("far", 5, 99)]
    (field,) = answer_fields({"entities": entities}, {"text": "abcdef"})
    assert [(span.text, span.entity) for span in field.spans] == [("a", ""), ("bc", "X"), ("def", "")]
    assert len(field.scores) == 4


def test_vectors_show_shape_and_first_numbers() -> None:
    (field,) = answer_fields({"features": [[0.5, -1.0, 0.25] * 100] * 13}, {})
    assert field.note == "13 × 300 numbers; the first 96 are drawn"
    assert field.text == "[0.5, -1, 0.25, 0.5, -1, 0.25, …]"
    assert [(bar.top, bar.height) for bar in field.bars[:2]] == [(0.0, 33.333), (33.333, 66.667)]


def test_an_unknown_structure_is_shown_as_json() -> None:
    (field,) = answer_fields({"boxes": [{"x": 1, "y": 2}]}, {})
    assert (field.kind, json.loads(field.text)) == ("json", [{"x": 1, "y": 2}])


@pytest.mark.slow
@given(answer=st.dictionaries(st.text(max_size=8), JSON, max_size=4), text=JSON)
def test_no_answer_breaks_the_report(answer: dict[str, JsonValue], text: JsonValue) -> None:
    assert len(answer_fields(answer, {"text": text})) == len(answer)
