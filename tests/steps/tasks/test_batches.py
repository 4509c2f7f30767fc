"""A request in a batch gets the answer that it gets alone, for each task with batches."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from steps.smoke import difference
from steps.tasks.table import TASKS
from tests.steps.tasks.all_cases import CASES
from tests.steps.tasks.cases import golden

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.max_batch_size > 1])
def test_an_answer_is_the_same_in_a_batch(name: str, tmp_path: Path) -> None:
    CASES[name].make(tmp_path)
    module = importlib.import_module(f"steps.serving.tasks.{TASKS[name].module}")
    runner = module.Runner(tmp_path)
    fields = golden(name)
    longer = {field: f"{value} {value}" if " " in str(value) else value for field, value in fields.items()}
    longer |= CASES[name].batch_fields
    requests = [module.Request(**each) for each in (fields, longer, fields)]
    together = runner.predict_all(requests)
    assert len(together) == len(requests)
    for answer, request in zip(together, requests, strict=True):
        difference(runner.predict(request).model_dump(mode="json"), answer.model_dump(mode="json"))
