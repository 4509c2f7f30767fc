"""table-question-answering: a table and a question in, the cells that answer it out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated

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
    rows: list[Row] = Field(min_length=1, max_length=MAX_ROWS, fail_fast=True, description="each with a cell for each column")

    @model_validator(mode="after")
    def rectangular(self) -> Rows:
        """Refuse rows of different lengths."""
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {index} has {len(row)} cells for {len(self.columns)} columns")
        return self


Columns = Annotated[dict[Header, Column], Field(min_length=1, max_length=MAX_COLUMNS)]


def _form(table: object) -> str:
    """Which of the two forms a table has. A table by columns may have columns named ``columns`` and ``rows``, without lists."""
    if isinstance(table, dict) and table.keys() == {"columns", "rows"}:
        rows = table["rows"]
        return "rows" if not isinstance(rows, list) or any(isinstance(row, list) for row in rows) else "columns"
    return "rows" if isinstance(table, Rows) else "columns"


Table = Annotated[Annotated[Rows, Tag("rows")] | Annotated[Columns, Tag("columns")], Discriminator(_form)]


class Request(runner.Request):
    """A question about a table."""

    question: Annotated[str, Field(min_length=1, max_length=1000)] = Field(description="the question")
    table: Table = Field(
        description="{columns: [names], rows: [[cells]]}, or {name: [cells]}; cells are texts, numbers, booleans or null"
    )

    @field_validator("table")
    @classmethod
    def same_length(cls, table: Table) -> Table:
        """Refuse columns of different lengths."""
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
    """The answer, and the cells that it is made of."""

    answer: str = Field(description="the cells' texts, after the aggregator if there is one: SUM > 3, 4. Empty if no cell fits")
    cells: list[AnswerCell] = Field(description="the cells that the answer is made of, in the order of the table")
    aggregator: str | None = Field(
        description="the operation on the cells, such as SUM; NONE for none, null if the model has no operations"
    )
    rows_read: int = Field(description="how many rows the model could read; it does not know those below")


class Runner(runner.Runner[Request, Answer]):
    """A model that reads tables (TAPAS), by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("table-question-answering", folder)
        # The tokenizer counts rows and columns, and ranks the cells of a column, without the model's limits.
        tokenizer, (_, columns, rows, _, ranks, inverse, *_) = (
            self.pipeline.tokenizer,
            self.pipeline.model.config.type_vocab_sizes,
        )
        tokenizer.max_column_id = min(tokenizer.max_column_id, columns)
        tokenizer.max_row_id = min(tokenizer.max_row_id, rows, ranks, inverse)

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for a table that the model cannot hold or whose cells hold no text."""
        from pandas import DataFrame

        names, rows = request.grid()
        # Rows that are cut off do not count: the model is given a cell's rank in its column among the rows that it reads.
        frame = DataFrame(rows[: self._fitting(request.question, names, rows)], columns=names)
        inputs = self.pipeline.preprocess({"table": frame, "query": request.question})
        read = int(inputs["token_type_ids"][0, :, 2].max())
        if not read:
            raise runner.BadInput("table: its cells hold no text")
        found = self.pipeline.postprocess(self.pipeline.forward(inputs))
        return Answer(
            answer=found["answer"],
            cells=[AnswerCell(text=rows[row][column], row=row, column=column) for row, column in found["coordinates"]],
            aggregator=found.get("aggregator"),
            rows_read=read,
        )

    def _fitting(self, question: str, names: list[str], rows: Sequence[Sequence[str]]) -> int:
        """How many rows the model can hold, with at least the first word of each cell.

        The tokenizer finds the same number, but takes minutes for a large table. Raises ``BadInput`` for none.
        """
        tokenizer = self.pipeline.tokenizer
        if len(names) >= tokenizer.max_column_id:
            raise runner.BadInput(f"table: {len(names)} columns; this model holds {tokenizer.max_column_id - 1} at most")
        left = tokenizer.model_max_length - len(tokenizer.tokenize(question)) - 2  # two special tokens: [CLS] and [SEP]
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
        first, *rest = self.pipeline.tokenizer.tokenize(text) or [""]
        return len([first, *takewhile(lambda token: token.startswith("##"), rest)])


def _text(cell: str | float | bool | None) -> str:
    """A cell as the model reads it."""
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
