"""Each task's service: the steps make a package of the case's tiny model, and the package answers over HTTP.

With SLIPWAY_WRITE_TASKS=1 (``make tasks``) the last test writes docs/tasks.md instead of comparing it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from steps.core.documents import ModelFacts
from steps.core.lock import set_digest
from steps.smoke import difference
from steps.tasks.table import TASKS
from tests.steps.packages import Made, make
from tests.steps.tasks.all_cases import CASES
from tests.steps.tasks.cases import Case, golden
from tests.steps.tasks.page import DESCRIPTIONS, PAGE, Description, page
from tests.steps.tasks.served import post, served

pytestmark = pytest.mark.slow
# Read before the tests run, which see no variable of this name.
WRITE = bool(os.environ.get("SLIPWAY_WRITE_TASKS"))


def test_every_task_has_a_case() -> None:
    assert CASES.keys() == TASKS.keys()


@pytest.fixture(scope="module", params=CASES.values(), ids=lambda case: case.task)
def case(request: pytest.FixtureRequest) -> Case:
    found = request.param
    assert isinstance(found, Case)
    return found


@pytest.fixture(scope="module")
def model(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(case.task) / "model"
    folder.mkdir()
    case.make(folder)
    return folder


@pytest.fixture(scope="module")
def made(case: Case, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp(case.task) / "store", model, case.task)


@pytest.fixture(scope="module")
def client(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with served(made, tmp_path_factory.mktemp("package") / "package") as client:
        yield client


def test_answer_equals_the_librarys(case: Case, model: Path, made: Made, client: TestClient) -> None:
    answer = post(client, golden(case.task))
    assert answer.status_code == 200, answer.text
    answered = case.library(model)
    difference(answered, answer.json())
    difference(answered, made.context.read_document(made.facts, ModelFacts).expected[case.task].answer)


def test_bad_requests_are_refused_by_field(case: Case, client: TestClient) -> None:
    assert case.bad
    for bad in case.bad:
        values = {name: value for name, value in {**golden(case.task), **bad.changes}.items() if value is not ...}
        answer = post(client, values)
        assert answer.status_code == 400, (bad, answer.text)
        assert bad.field in answer.json()["error"].partition(":")[0].split("."), (bad, answer.text)
    assert post(client, golden(case.task)).status_code == 200


def test_several_requests_are_answered_at_once(case: Case, client: TestClient) -> None:
    one = post(client, golden(case.task)).json()
    files = case.entry.golden.files
    several: Any = [golden(case.task)] * 3
    if files:
        several = {name: [value] * 3 if name in files else value for name, value in golden(case.task).items()}
    answer = post(client, several)
    assert answer.status_code == 200, answer.text
    for each in answer.json():
        difference(one, each)
    assert len(answer.json()) == 3


def test_info_and_schema_describe_the_service(case: Case, made: Made, client: TestClient) -> None:
    about, lock = client.get("/info").json(), made.read_lock()
    assert (about["task"], about["setDigest"]) == (case.task, f"sha256:{set_digest(lock.files)}")
    schema = client.get("/schema").json()
    assert schema["request"]["properties"].keys() >= golden(case.task).keys()
    assert schema["answer"]["properties"].keys() == post(client, golden(case.task)).json().keys()
    document = client.get("/docs.json").json()
    operation = document["paths"]["/predict"]["post"]
    [content] = operation["requestBody"]["content"].values()
    assert content["schema"]["example"] == schema["example"] == {**case.entry.golden.fields, **case.entry.golden.files}
    assert client.get("/healthz").status_code == 200
    DESCRIPTIONS[case.task] = Description(about["architecture"], document)


def test_every_field_is_described_and_bounded(case: Case, client: TestClient) -> None:
    for name, field in client.get("/schema").json()["request"]["properties"].items():
        assert field.get("description"), name
        for kind in [field, *field.get("anyOf", ())]:
            bounds = {"string": ("maxLength", "enum", "const", "format"), "integer": ("maximum",), "number": ("maximum",)}
            limits = {**bounds, "array": ("maxItems",)}.get(kind.get("type", ""), ())
            assert not limits or any(limit in kind for limit in limits), (name, json.dumps(kind))


def test_the_tasks_page_is_fresh() -> None:
    if not DESCRIPTIONS.keys() >= TASKS.keys():
        pytest.skip("only some of the tasks were served in this run")
    if WRITE:
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "`make tasks` writes the page anew"
