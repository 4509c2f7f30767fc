"""Tasks that take a table."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.base import TOKENIZER, Task

TABLE = {
    "columns": ["Harbour", "Country", "Ships", "Built"],
    "rows": [
        ["Hamburg", "Germany", 9000, "7 May 1189"],
        ["Oslo", "Norway", 2500, "1905"],
        ["Porto", "Portugal", 1200, None],
    ],
}

TASKS = (
    Task(
        name="table-question-answering",
        title="Find the cells of a table that answer a question",
        family="table",
        auto=True,
        mappings=("TABLE_QUESTION_ANSWERING",),
        components=(TOKENIZER,),
        golden=GoldenRequest(fields={"question": "How many ships are in the harbour of Hamburg?", "table": TABLE}),
    ),
)
