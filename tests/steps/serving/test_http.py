"""Responses: JSON or a file, and errors in one form."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.steps.serving.echo_service import TextRequest, service

TEXTS = service(TextRequest)


def ask(body: Any, *accept: str, client: TestClient = TEXTS) -> Any:
    return client.post("/predict", json=body, headers=[("Accept", each) for each in accept])


def test_an_answer_is_a_file_or_json() -> None:
    assert (ask({"text": "a"}, "image/png").content, ask({"text": "a"}, "image/png").headers["content-type"]) == (
        b"\x89PNG",
        "image/png",
    )
    assert ask({"text": "a"}, "application/json").json()["seen"]["text"] == "a"
    assert ask({"text": "a"}, "application/json;q=0.5", "image/png").content == b"\x89PNG"
    assert ask({"text": "a"}).headers["content-type"] == "application/json"


def test_a_list_of_answers_is_always_json() -> None:
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
def test_errors_of_the_runner_have_one_form(body: Any, status: int, error: str) -> None:
    for accept in ("application/json", "image/png"):
        answer = ask(body, accept)
        assert (answer.status_code, answer.json()) == (status, {"error": error, "detail": []})
        assert answer.headers["content-type"] == "application/json"
