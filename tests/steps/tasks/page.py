"""The page ``docs/tasks.md``: each task as the tests saw it served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.reporting.openapi import Row, request_schema, response_schema
from steps.reporting.services import curl
from steps.tasks.base import Task
from steps.tasks.table import TASKS

PAGE = Path(__file__).parents[3] / "docs/tasks.md"
HEAD = """\
# Tasks

What Slipway serves, one package and one image for each task. Every entry was made by the tests: a tiny random model of the
named architecture went through fetch, load, render and archive, its package was served, asked over HTTP, and answered as the
library itself does. `make tasks` makes this page anew.

All services take several requests at once: a JSON list, or a file field given more than once, gets a list of answers.
`GET /info` says which model it is, `GET /schema` and `GET /docs.json` what it takes, `GET /healthz` and `GET /metrics`
how it is. A request that is wrong gets a 400 whose `error` begins with the field's name.

| task | also | sends | gets | tried with |
| --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Seen:
    """What a served task said of itself."""

    architecture: str
    openapi: dict[str, Any]


SEEN: dict[str, Seen] = {}  # by task, filled by the tests that serve it


def page() -> str:
    """The whole page, from what was seen."""
    found = [(TASKS[name], SEEN[name]) for name in TASKS]
    return HEAD + "".join(map(_line, found)) + "".join(map(_section, found))


def _rows(seen: Seen) -> tuple[list[Row], list[Row]]:
    request, response = request_schema(seen.openapi), response_schema(seen.openapi)
    assert request is not None, "every task takes something"
    assert response is not None, "and answers"
    return request.rows, response.rows


def _line(entry: tuple[Task, Seen]) -> str:
    task, seen = entry
    request, response = _rows(seen)
    sends = ", ".join(f"**{row.name}**" if row.need == "required" else row.name for row in request if "." not in row.name)
    gets = ", ".join(row.name for row in response if "." not in row.name)
    also = ", ".join(task.aliases)
    return f"| [{task.name}](#{task.name}) | {also} | {sends} | {gets} | {seen.architecture} |\n"


def _section(entry: tuple[Task, Seen]) -> str:
    task, seen = entry
    request, response = _rows(seen)
    paths = [f"src/{path}" for path in task.golden.files.values()]
    notes = [f"{task.title}."]
    if task.max_batch_size > 1:
        notes.append(f"Up to {task.max_batch_size} waiting requests are answered in one go of the model.")
    if task.streams:
        notes.append("`POST /stream` answers in pieces, as server-sent events.")
    return (
        f"\n## {task.name}\n\n{' '.join(notes)}\n\n"
        f"```sh\n{curl(task.golden, paths)}\n```\n\n"
        f"| request | type | | meaning |\n| --- | --- | --- | --- |\n{''.join(map(_cells, request))}\n"
        f"| answer | type | | meaning |\n| --- | --- | --- | --- |\n{''.join(map(_cells, response))}"
    )


def _cells(row: Row) -> str:
    cells = (f"`{row.name}`", row.type, row.need, row.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
