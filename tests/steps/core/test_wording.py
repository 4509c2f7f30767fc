"""What is wrong with a value is said in the words of whoever wrote it, not in pydantic's."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from crd.types import Model
from pipelines.step_table import STEPS
from steps.core.names import RunName
from steps.core.settings import Settings
from steps.core.wording import explain, rule_of

MODELS: list[type[BaseModel]] = [Settings, Model, *(step.inputs for step in STEPS.values())]


def patterns(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for value in schema.values():
            yield from patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns(value)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_pattern_has_a_rule_in_words(model: type[BaseModel]) -> None:
    for pattern in patterns(model.model_json_schema()):
        assert rule_of(pattern) != rule_of("none"), pattern


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (tuple[str, ...], "x", "write a list, not 'x'"),
        (dict[str, str], 3, "write fields with their values below it, not 3"),
        (str, 5, "write a text (in quotes, if it looks like a number or a date), not 5"),
        (int, "many", "write a whole number, not 'many'"),
        (bool, "perhaps", "write true or false, not 'perhaps'"),
        (RunName, "../x", "write letters, digits and . _ + @ -, with none of . + @ - in front, not '../x'"),
        (RunName, "x" * 201, "it is too long: write at most 200 characters, not"),
        (RunName, "\udcff", "it has bytes that are not text in UTF-8"),
    ],
)
def test_a_problem_says_what_to_write(kind: type[object], value: object, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert explain(caught.value.errors()[0]).startswith(said)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_nothing_says_what_pydantic_says(model: type[BaseModel]) -> None:
    """For a value of each wrong kind in each field."""
    names = [field.alias or name for name, field in model.model_fields.items()]
    wrong: tuple[object, ...] = (None, 7, -1, "\x00", "x" * 5000, [], [1], {"a": 1}, True, 1.5, [[]])
    for value in wrong:
        try:
            model.model_validate(dict.fromkeys(names, value))
        except ValidationError as error:
            for problem in error.errors():
                assert not re.search(r"Input should|valid (tuple|dictionary|string)|regex|pattern '", explain(problem)), problem
