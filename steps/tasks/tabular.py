"""Tasks that are asked about a table."""

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
        title="Which cells of a table answer a question",
        family="table",
        service="table_question_answering",
        mappings=("TABLE_QUESTION_ANSWERING",),
        needs=(TOKENIZER,),
        golden=GoldenRequest(fields={"question": "How many ships are in the harbour of Hamburg?", "table": TABLE}),
    ),
)
