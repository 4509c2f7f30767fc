"""Answers as clients ask for them: JSON or a file, errors in one form, and what a service says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from steps.serving.accept import prefers_file
from tests.steps.serving.echo_service import Answer, TextRequest, service

TEXTS = service(TextRequest)


@pytest.mark.parametrize(
    ("accept", "file"),
    [
        ("application/json", False),
        ("image/png", True),
        ("image/*", True),
        ("application/*", False),
        ("IMAGE/PNG", True),
        ("image/png, application/json;q=0.9", True),
        ("image/png;q=0.1, application/json;q=0.2", False),
        ("image/png;Q=0.1, application/json;q=0.2", False),
        ("image/*;q=0.9, image/png;q=0.1, application/json;q=0.5", False),
        ("image/png;q=0.9, image/*;q=0.1, application/json;q=0.5", True),
        ("*/*;q=0.5, image/png;q=0.1", False),
        ("*/*;q=0.1, image/png", True),
        ("application/json, */*;q=0", False),
        ("text/html, image/png;q=0.2", True),
        (" image/png ; q=1.0 ,application/json; charset=utf-8; q=0.3", True),
        ("image/png;q=much, application/json;q=0.1", False),
        ("image/png;q=nan, application/json", False),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_the_kind_of_answer_that_is_preferred_is_given(accept: str, file: bool, first: bool) -> None:
    assert prefers_file(accept, "image/png", first) is file


@pytest.mark.parametrize(
    "accept", ["", "*/*", "image/png, application/json", "image/*, application/*", "text/html", ",;,", "*"]
)
@pytest.mark.parametrize("first", [False, True])
def test_without_a_preference_the_task_decides(accept: str, first: bool) -> None:
    assert prefers_file(accept, "image/png", first) is first


PIECES = [*"*/;=,q.01 x", "image/png", "application/json", "inf", "nan"]


@given(accept=st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_any_header_is_decided(accept: str) -> None:
    assert prefers_file(accept, "image/png", True) in (True, False)


def ask(body: Any, *accept: str, client: TestClient = TEXTS) -> Any:
    return client.post("/predict", json=body, headers=[("Accept", each) for each in accept])


def test_an_answer_comes_as_the_file_or_as_json() -> None:
    assert (ask({"text": "a"}, "image/png").content, ask({"text": "a"}, "image/png").headers["content-type"]) == (
        b"\x89PNG",
        "image/png",
    )
    assert ask({"text": "a"}, "application/json").json()["seen"]["text"] == "a"
    assert ask({"text": "a"}, "application/json;q=0.5", "image/png").content == b"\x89PNG"
    assert ask({"text": "a"}).headers["content-type"] == "application/json"


def test_a_list_of_answers_is_json_whatever_is_asked_for() -> None:
    answer = ask([{"text": "a"}, {"text": "b"}], "image/png")
    assert answer.headers["content-type"] == "application/json"
    assert [each["seen"]["text"] for each in answer.json()] == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"text": "bad"}, 400, "text: this one is bad"),
        ([{"text": "a"}, {"text": "bad"}], 400, "1.text: this one is bad"),
        ({"text": "large"}, 413, "body: there is not enough memory to answer a request of this size"),
    ],
)
def test_what_the_model_cannot_answer_is_refused_in_the_same_form(body: Any, status: int, error: str) -> None:
    for accept in ("application/json", "image/png"):
        answer = ask(body, accept)
        assert (answer.status_code, answer.json()) == (status, {"error": error, "detail": []})
        assert answer.headers["content-type"] == "application/json"


@pytest.fixture
def told(tmp_path: Path) -> TestClient:
    (tmp_path / "slipway.json").write_text('{"task": "echo"}\n')
    return service(TextRequest, tmp_path)


def test_a_service_tells_what_it_is_and_what_it_takes(told: TestClient) -> None:
    assert told.get("/info").json() == {"task": "echo"}
    schema = told.get("/schema").json()
    assert schema["request"] == TextRequest.model_json_schema()
    assert schema["answer"] == Answer.model_json_schema()
    assert schema["example"] == {"text": "hello"}
    assert told.get("/info?x=1").json() == {"task": "echo"}
    assert ask({"text": "a"}, client=told).status_code == 200


@pytest.mark.parametrize("path", ["/info", "/schema"])
def test_head_has_the_headers_of_get_and_nothing_else(path: str, told: TestClient) -> None:
    get, head = told.get(path), told.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers
    assert get.headers["content-type"] == "application/json"
    assert int(get.headers["content-length"]) == len(get.content)


@pytest.mark.parametrize("path", ["/info", "/schema"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_another_method_is_refused_and_told_which_ones_there_are(path: str, method: str, told: TestClient) -> None:
    answer = told.request(method, path, content=b"x" * 1000)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json() == {"error": "method: send GET", "detail": []}


@pytest.mark.parametrize("path", ["/info/", "/Info", "/information", "/"])
def test_other_paths_are_the_services_own(path: str, told: TestClient) -> None:
    assert told.get(path).status_code == 404


def test_the_pages_are_read_once(told: TestClient, tmp_path: Path) -> None:
    (tmp_path / "slipway.json").write_text(json.dumps({"task": "other"}))
    assert told.get("/info").json() == {"task": "echo"}


@pytest.mark.parametrize("kind", ["application/vnd.bentoml+pickle", " application/vnd.bentoml+pickle ;a=b"])
def test_pickle_is_refused_before_bentoml_sees_it(kind: str, told: TestClient) -> None:
    answer = told.post("/predict", content=b"x", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()) == (415, {"error": "body: pickle is not read", "detail": []})
