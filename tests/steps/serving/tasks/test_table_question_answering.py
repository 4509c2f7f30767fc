"""Tables as people send them: in both forms, with cells of every kind, of any size; none makes the service fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from steps.serving.runner import BadInput
from steps.serving.tasks.table_question_answering import Answer, Request, Runner
from tests.steps.tasks.table_cases import LENGTH, save_table_model
from tests.steps.tasks.text_cases import pipe

pytestmark = pytest.mark.slow

QUESTION = "how many ships"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_table_model(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def reader(folder: Path) -> Runner:
    return Runner(folder)


def ask(runner: Runner, table: Any, question: str = QUESTION) -> Answer:
    return runner.predict(Request(question=question, table=table))


def test_both_forms_say_the_same(reader: Runner) -> None:
    rows = {"columns": ["harbour", "ships"], "rows": [["oslo", 3], ["porto", 4]]}
    columns = {"harbour": ["oslo", "porto"], "ships": [3, 4]}
    assert ask(reader, rows) == ask(reader, columns)
    assert Request(question="?", table=rows).grid() == Request(question="?", table=columns).grid()


def test_columns_may_be_named_columns_and_rows() -> None:
    table = {"columns": ["a", "b"], "rows": [1, 2]}
    assert Request(question="?", table=table).grid() == (["columns", "rows"], [["a", "1"], ["b", "2"]])


def test_two_columns_may_have_the_same_name(reader: Runner) -> None:
    table = {"columns": ["ships", "ships", ""], "rows": [[1, 2, 3], [4, 5, 6]]}
    assert ask(reader, table).rows_read == 2


def test_cells_of_every_kind_become_texts() -> None:
    cells = ["a", "", 7, -7, 2.5, True, False, None, "true", 10**18]
    [row] = Request(question="?", table={"columns": list("abcdefghij"), "rows": [cells]}).grid()[1]
    assert row == ["a", "", "7", "-7", "2.5", "true", "false", "", "true", "1000000000000000000"]


@pytest.mark.parametrize(
    "table",
    [
        {"columns": [], "rows": [[]]},
        {"columns": ["a"], "rows": [[]]},
        {"columns": ["a"], "rows": [["b"], ["c", "d"]]},
        {"columns": ["a"], "rows": [["b"]], "title": "c"},
        {"columns": ["a"], "rows": [[["b"]]]},
        {"columns": ["a"], "rows": [[{"b": "c"}]]},
        {"columns": ["a"], "rows": "b"},
        {"columns": [1], "rows": [["b"]]},
        {"a": "b"},
        {"a": []},
        {"a": ["b"], "c": []},
        {"a": [float("nan")]},
        {"a": [float("inf")]},
        {"a": [10**400]},
        {"a": ["b" * 501]},
        {"a" * 201: ["b"]},
        {"a": ["b"] * 1001},
        {str(number): ["b"] for number in range(65)},
        [["a", "b"]],
        None,
    ],
)
def test_what_is_no_table_is_refused(table: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Request(question="?", table=table)
    assert {error["loc"][0] for error in caught.value.errors()} == {"table"}


def test_a_wrong_table_gets_a_short_error() -> None:
    with pytest.raises(ValidationError) as caught:
        Request(question="?", table={"columns": ["a"] * 64, "rows": [[[]] * 64] * 1000})
    assert len(caught.value.errors()) < 10


@pytest.mark.parametrize("rows", [1, 5, 12, 13, 60])
def test_a_long_table_is_cut_as_by_transformers(tmp_path: Path, rows: int) -> None:
    from pandas import DataFrame
    from transformers import TapasTokenizer

    folder = save_table_model(tmp_path, type_vocab_sizes=[3, 256, 256, 2, 256, 256, 10])
    table = {"harbour": ["oslo", "porto 17"] * rows, "ships": [str(number) for number in range(2 * rows)]}
    found = ask(Runner(folder), table)
    encoded = TapasTokenizer.from_pretrained(folder)(DataFrame(table), QUESTION, truncation="drop_rows_to_fit")
    assert found.rows_read == max(token[2] for token in encoded["token_type_ids"])
    kept = {name: cells[: found.rows_read] for name, cells in table.items()}
    said = pipe("table-question-answering", folder)(table=kept, query=QUESTION)
    assert [(cell.row, cell.column) for cell in found.cells] == said["coordinates"]


def test_what_does_not_fit_at_all_is_refused(reader: Runner) -> None:
    with pytest.raises(BadInput, match=r"^table: 16 columns; this model holds 15 at most"):
        ask(reader, {str(number): ["1"] for number in range(16)})
    with pytest.raises(BadInput, match=rf"^table: not even its first row fits beside the question; this model reads {LENGTH} "):
        ask(reader, {"ships": [1]}, question="ships " * (LENGTH - 3))
    assert ask(reader, {"ships": [1]}, question="ships " * (LENGTH - 4)).rows_read == 1


@pytest.mark.parametrize("name", ["ships", ""])
@pytest.mark.parametrize("cell", ["", None])
def test_a_table_without_any_text_is_refused(reader: Runner, name: str, cell: str | None) -> None:
    with pytest.raises(BadInput, match=r"^table: its cells hold no text"):
        ask(reader, {"columns": [name], "rows": [[cell], [cell]]})


def test_no_more_rows_are_read_than_numbered(tmp_path: Path) -> None:
    reader = Runner(save_table_model(tmp_path, type_vocab_sizes=[3, 16, 8, 2, 6, 16, 10]))
    assert ask(reader, {"ships": list(range(100))}).rows_read == 5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    question=st.text(min_size=1, max_size=40),
    names=st.lists(st.text(max_size=10), min_size=1, max_size=4),
    cells=st.lists(
        st.one_of(
            st.text(max_size=20),
            st.integers(-(10**18), 10**18),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from([None, True, "1e999", "inf", "nan", "²", "१२", "7 May 1905", "1,000 st", "[SEP]", "9 " * 50]),
        ),
        min_size=4,
        max_size=40,
    ),
)
def test_any_table_gets_cells_of_its_own(reader: Runner, question: str, names: list[str], cells: list[Any]) -> None:
    rows = [cells[at : at + len(names)] for at in range(0, len(cells) - len(names) + 1, len(names))]
    request = Request(question=question, table={"columns": names, "rows": rows})
    try:
        found: Answer | str = reader.predict(request)
    except BadInput as error:
        found = str(error)
    if isinstance(found, str):
        assert found.startswith("table: ")
        return
    json.loads(found.model_dump_json())
    assert 0 < found.rows_read <= len(rows)
    for cell in found.cells:
        assert cell.text == request.grid()[1][cell.row][cell.column]
        assert cell.row < found.rows_read
