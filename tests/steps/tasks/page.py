"""The text of ``docs/tasks.md``: each task as its service describes itself in ``test_services.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.reporting.openapi_tables import ApiField, request_table, response_table
from steps.reporting.service_view import curl
from steps.tasks.base import Task
from steps.tasks.table import TASKS

PAGE = Path(__file__).parents[3] / "docs/tasks.md"
HEAD = """\
<!-- Made by `make tasks`; a test compares this page with the running services. Change the code instead. -->

# Tasks

What Slipway serves: one package and one image for each task. Each section comes from a test that takes a tiny random model
of the architecture in the last column through fetch, load, render and archive, starts the package, sends requests over HTTP,
and compares the answers with those of transformers. After a change of a task or of its fields, `make tasks` writes this page
again. [How to add a task](add-a-task.md).

Every service answers several requests at once: send a JSON list, or a file field several times, and the answer is a list.
`GET /info` describes the model, `GET /schema` and `GET /docs.json` describe requests and answers, `GET /healthz` and
`GET /metrics` report the state of the service. A request that is wrong gets status 400 and an `error` that begins with the
field's name.

In the first table required fields are bold.

| task | aliases | request | answer | tested with |
| --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True)
class Description:
    """What a service says of itself: its model's architecture and its OpenAPI document."""

    architecture: str
    openapi: dict[str, Any]


DESCRIPTIONS: dict[str, Description] = {}  # by task, filled by the tests of the services


def page() -> str:
    """Return the whole page, from ``DESCRIPTIONS``."""
    found = [(TASKS[name], DESCRIPTIONS[name]) for name in TASKS]
    return HEAD + "".join(map(_line, found)) + "".join(map(_section, found))


def _rows(description: Description) -> tuple[list[ApiField], list[ApiField]]:
    request, response = request_table(description.openapi), response_table(description.openapi)
    assert request is not None, "every task has a request schema"
    assert response is not None, "every task has an answer schema"
    return request.rows, response.rows


def _line(entry: tuple[Task, Description]) -> str:
    task, description = entry
    request, response = _rows(description)
    sends = ", ".join(
        f"**{row.name}**" if row.requirement == "required" else row.name for row in request if "." not in row.name
    )
    gets = ", ".join(row.name for row in response if "." not in row.name)
    aliases = ", ".join(task.aliases)
    return f"| [{task.name}](#{task.name}) | {aliases} | {sends} | {gets} | {description.architecture} |\n"


def _section(entry: tuple[Task, Description]) -> str:
    task, description = entry
    request, response = _rows(description)
    paths = [f"src/{path}" for path in task.golden.files.values()]
    notes = [f"{task.title}."]
    if task.max_batch_size > 1:
        notes.append(f"Up to {task.max_batch_size} waiting requests are answered in one batch.")
    if task.streams:
        notes.append("`POST /stream` streams the answer as server-sent events.")
    return (
        f"\n## {task.name}\n\n{' '.join(notes)}\n\n"
        f"```sh\n{curl(task.golden, paths)}\n```\n\n"
        f"| request | type | | meaning |\n| --- | --- | --- | --- |\n{''.join(map(_cells, request))}\n"
        f"| answer | type | | meaning |\n| --- | --- | --- | --- |\n{''.join(map(_cells, response))}"
    )


def _cells(row: ApiField) -> str:
    cells = (f"`{row.name}`", row.type, row.requirement, row.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
