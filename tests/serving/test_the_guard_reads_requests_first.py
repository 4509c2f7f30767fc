"""The guard in front of a packaged service, called as an ASGI server calls it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import urllib3

from steps.serving import guard
from steps.serving.guard import Guard


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers with the body it got."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def post(body: bytes, content_type: str, *, files: tuple[str, ...] = ("image",), parts: int = 1) -> tuple[int, bytes]:
    size = -(-len(body) // parts) or 1
    chunks = [body[begin : begin + size] for begin in range(0, len(body), size)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        chunk = chunks.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "path": "/predict", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    asyncio.run(Guard(echo, files)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def multipart(fields: dict[str, Any]) -> tuple[bytes, str]:
    return urllib3.encode_multipart_formdata(fields)


def test_a_file_passes_unchanged_however_it_arrives() -> None:
    body, content_type = multipart({"image": ("a.png", b"\x89PNG" * 1000, "image/png"), "top_k": "3"})
    assert post(body, content_type, parts=7) == (200, body)


@pytest.mark.parametrize("address", ["http://192.0.2.1/a.png", "https://example.org/a.png", "a.png", ""])
def test_an_address_in_place_of_a_file_is_refused_and_never_fetched(address: str) -> None:
    body, content_type = multipart({"image": address})
    status, answer = post(body, content_type)
    assert status == 400
    assert json.loads(answer)["error"].startswith("image: send the file itself")


def test_a_second_part_that_is_an_address_is_refused_too() -> None:
    body, content_type = urllib3.encode_multipart_formdata([("image", ("a.png", b"x")), ("image", "http://192.0.2.1/")])
    assert post(body, content_type)[0] == 400


def test_a_missing_file_is_named() -> None:
    body, content_type = multipart({"top_k": "3"})
    status, answer = post(body, content_type)
    assert (status, json.loads(answer)["error"]) == (400, "image: this field is required, and holds a file")


@pytest.mark.parametrize("content_type", ["application/json", "", "text/plain", "multipart/form-data"])
def test_another_kind_of_body_is_refused_where_a_file_is_needed(content_type: str) -> None:
    status, answer = post(b'{"image": "http://192.0.2.1/"}', content_type)
    assert status == 400
    assert json.loads(answer)["error"].startswith("body: ")


def test_a_service_without_files_takes_json() -> None:
    assert post(b'{"text": "hello"}', "application/json", files=()) == (200, b'{"text": "hello"}')


def test_a_body_that_is_too_large_is_refused_while_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_BODY", 1000)
    status, answer = post(b"x" * 1001, "application/json", files=(), parts=3)
    assert status == 413
    assert "1000 bytes" in json.loads(answer)["error"]
    assert post(b"x" * 1000, "application/json", files=())[0] == 200


def test_other_paths_are_left_alone() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])

    for path, method in (("/healthz", "GET"), ("/predict", "GET"), ("/docs.json", "GET")):
        asyncio.run(Guard(app, ("image",))({"type": "http", "path": path, "method": method}, None, None))
    assert seen == ["/healthz", "/predict", "/docs.json"]
