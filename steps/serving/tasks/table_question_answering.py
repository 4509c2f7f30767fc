"""table-question-answering: a table and a question in, the cells that answer it out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from .. import runner
from ..models.loading import load_pipeline

MAX_COLUMNS = 64
MAX_ROWS = 1000

Header = Annotated[str, Field(max_length=200)]
Number = Annotated[int, Field(ge=-(10**18), le=10**18)] | Annotated[float, Field(allow_inf_nan=False)]
Cell = Annotated[str, Field(max_length=500)] | Number | bool | None
Headers = Annotated[list[Header], Field(min_length=1, max_length=MAX_COLUMNS, fail_fast=True)]
Row = Annotated[list[Cell], Field(min_length=1, max_length=MAX_COLUMNS, fail_fast=True)]
Column = Annotated[list[Cell], Field(min_length=1, max_length=MAX_ROWS, fail_fast=True)]


class Rows(BaseModel):
    """A table by its rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    columns: Headers = Field(description="the columns' names")
    rows: list[Row] = Field(min_length=1, max_length=MAX_ROWS, fail_fast=True, description="in each a cell for each column")

    @model_validator(mode="after")
    def rectangular(self) -> Rows:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {index} has {len(row)} cells for {len(self.columns)} columns")
        return self


Columns = Annotated[dict[Header, Column], Field(min_length=1, max_length=MAX_COLUMNS)]


def _form(table: Any) -> str:
    """Which of the two forms a table has. Columns that are themselves named columns and rows hold no lists."""
    if isinstance(table, dict) and table.keys() == {"columns", "rows"}:
        rows = table["rows"]
        return "rows" if not isinstance(rows, list) or any(isinstance(row, list) for row in rows) else "columns"
    return "rows" if isinstance(table, Rows) else "columns"


Table = Annotated[Annotated[Rows, Tag("rows")] | Annotated[Columns, Tag("columns")], Discriminator(_form)]


class Request(runner.Request):
    question: Annotated[str, Field(min_length=1, max_length=1000)] = Field(description="the question")
    table: Table = Field(
        description="{columns: [names], rows: [[cells]]}, or {name: [cells]}; cells are texts, numbers, booleans or null"
    )

    @field_validator("table")
    @classmethod
    def as_long_as_each_other(cls, table: Table) -> Table:
        if isinstance(table, dict) and len({len(cells) for cells in table.values()}) > 1:
            raise ValueError("its columns must have as many cells as each other")
        return table

    def grid(self) -> tuple[list[str], list[list[str]]]:
        """The table as texts: the columns' names, and the rows."""
        if isinstance(self.table, Rows):
            names, rows = self.table.columns, self.table.rows
        else:
            names, rows = list(self.table), [list(row) for row in zip(*self.table.values(), strict=True)]
        return names, [[_text(cell) for cell in row] for row in rows]


class AnswerCell(BaseModel):
    """One cell of the table."""

    text: str
    row: int = Field(description="0 for the first row below the names")
    column: int = Field(description="0 for the first column")


class Answer(runner.Answer):
    answer: str = Field(
        description="the cells' texts; behind what is to be done with them, as in SUM > 3, 4. Empty if none fits"
    )
    cells: list[AnswerCell] = Field(description="the cells that the answer is made of, in the order of the table")
    aggregator: str | None = Field(
        description="what is to be done with the cells, NONE for nothing; null if the model has no such"
    )
    rows_read: int = Field(description="up to which row the model could read; what stands below it does not know")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = load_pipeline("table-question-answering", folder)
        # The tokenizer counts rows and columns up to any number, and ranks cells within a column; the model does not.
        tokenizer, (_, columns, rows, _, ranks, inverse, *_) = (
            self._pipeline.tokenizer,
            self._pipeline.model.config.type_vocab_sizes,
        )
        tokenizer.max_column_id = min(tokenizer.max_column_id, columns)
        tokenizer.max_row_id = min(tokenizer.max_row_id, rows, ranks, inverse)

    def predict(self, request: Request) -> Answer:
        from pandas import DataFrame

        names, rows = request.grid()
        # What is cut off counts nowhere: a cell's rank in its column, which the model is told, is that among the rows it sees.
        frame = DataFrame(rows[: self._fitting(request.question, names, rows)], columns=names)
        inputs = self._pipeline.preprocess({"table": frame, "query": request.question})
        read = int(inputs["token_type_ids"][0, :, 2].max())
        if not read:
            raise runner.BadInput("table: its cells hold no text")
        found = self._pipeline.postprocess(self._pipeline.forward(inputs))
        return Answer(
            answer=found["answer"],
            cells=[AnswerCell(text=rows[row][column], row=row, column=column) for row, column in found["coordinates"]],
            aggregator=found.get("aggregator"),
            rows_read=read,
        )

    def _fitting(self, question: str, names: list[str], rows: Sequence[Sequence[str]]) -> int:
        """How many rows the model can hold, with at least the first word of each cell: as the tokenizer finds out itself,
        but there it takes minutes for a large table. Raises ``BadInput`` if there is not one."""
        tokenizer = self._pipeline.tokenizer
        if len(names) >= tokenizer.max_column_id:
            raise runner.BadInput(f"table: {len(names)} columns; this model holds {tokenizer.max_column_id - 1} at most")
        left = tokenizer.model_max_length - len(tokenizer.tokenize(question)) - 2  # two signs: [CLS] and [SEP]
        for count, row in enumerate([names, *rows]):
            left -= sum(self._first_word(cell) for cell in row)
            if left < 0 or count == tokenizer.max_row_id:
                if count < 2:
                    raise runner.BadInput(
                        "table: not even its first row fits beside the question; this model reads "
                        f"{tokenizer.model_max_length} tokens: send fewer columns or a shorter question"
                    )
                return count - 1
        return len(rows)

    def _first_word(self, text: str) -> int:
        """Of how many tokens a cell's first word is made."""
        first, *rest = self._pipeline.tokenizer.tokenize(text) or [""]
        return len([first, *takewhile(lambda token: token.startswith("##"), rest)])


def _text(cell: str | float | bool | None) -> str:
    """A cell as the model reads it."""
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
