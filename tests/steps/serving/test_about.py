"""/info and /schema, and everything else passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.steps.serving.echo_service import Answer, TextRequest, service

TEXTS = service(TextRequest)


def ask(body: Any, *accept: str, client: TestClient = TEXTS) -> Any:
    return client.post("/predict", json=body, headers=[("Accept", each) for each in accept])


@pytest.fixture
def told(tmp_path: Path) -> TestClient:
    (tmp_path / "slipway.json").write_text('{"task": "echo"}\n')
    return service(TextRequest, tmp_path)


def test_info_and_schema_describe_the_service(told: TestClient) -> None:
    assert told.get("/info").json() == {"task": "echo", "walls": []}
    schema = told.get("/schema").json()
    assert schema["request"] == TextRequest.model_json_schema()
    assert schema["answer"] == Answer.model_json_schema()
    assert schema["example"] == {"text": "hello"}
    assert told.get("/info?x=1").json() == {"task": "echo", "walls": []}
    assert ask({"text": "a"}, client=told).status_code == 200


@pytest.mark.parametrize("path", ["/info", "/schema"])
def test_head_has_the_headers_of_get(path: str, told: TestClient) -> None:
    get, head = told.get(path), told.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers == get.headers
    assert get.headers["content-type"] == "application/json"
    assert int(get.headers["content-length"]) == len(get.content)


@pytest.mark.parametrize("path", ["/info", "/schema"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_another_method_is_refused(path: str, method: str, told: TestClient) -> None:
    answer = told.request(method, path, content=b"x" * 1000)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json() == {"error": "method: send GET", "detail": []}


@pytest.mark.parametrize("path", ["/info/", "/Info", "/information", "/"])
def test_other_paths_are_the_services_own(path: str, told: TestClient) -> None:
    assert told.get(path).status_code == 404


def test_the_pages_are_read_once(told: TestClient, tmp_path: Path) -> None:
    (tmp_path / "slipway.json").write_text(json.dumps({"task": "other"}))
    assert told.get("/info").json() == {"task": "echo", "walls": []}


@pytest.mark.parametrize("kind", ["application/vnd.bentoml+pickle", " application/vnd.bentoml+pickle ;a=b"])
def test_pickle_is_refused_before_bentoml_sees_it(kind: str, told: TestClient) -> None:
    answer = told.post("/predict", content=b"x", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()) == (415, {"error": "body: pickle is not read", "detail": []})
