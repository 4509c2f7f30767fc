"""Requests as clients send them, JSON and forms: what reaches the runner, and what is refused, naming the field."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request as Http

from steps.serving import request_body
from steps.serving.http_error import HttpError
from steps.serving.request_body import MAX_REQUESTS, ParsedRequest, read_request
from tests.steps.serving.echo_service import PictureRequest, TextRequest, service

TEXTS, PICTURES = service(TextRequest), service(PictureRequest)
Part = tuple[str, Any]


def send(body: bytes, content_type: str = "application/json", client: Any = TEXTS) -> tuple[int, Any]:
    answer = client.post("/predict", content=body, headers={"Content-Type": content_type})
    return answer.status_code, answer.json()


def form(*parts: Part) -> tuple[int, Any]:
    """A form of these fields, in order; bytes are files."""
    files = [(name, (f"{name}.png", value) if isinstance(value, bytes) else (None, value)) for name, value in parts]
    answer = PICTURES.post("/predict", files=files)
    return answer.status_code, answer.json()


def seen(answer: tuple[int, Any]) -> Any:
    assert answer[0] == 200, answer
    return answer[1]["seen"]


def refused(answer: tuple[int, Any], status: int = 400) -> str:
    assert answer[0] == status, answer
    assert answer[1].keys() == {"error", "detail"}
    error: str = answer[1]["error"]
    return error


def test_a_list_of_requests_gets_a_list() -> None:
    given = {"text": "a", "number": 7, "labels": ["x"], "boxes": [[1, 2]]}
    defaults = {"share": None, "mode": "quiet", "exact": False}
    assert seen(send(json.dumps(given).encode())) == {**given, **defaults}
    status, answers = send(json.dumps([{"text": str(number)} for number in range(MAX_REQUESTS)]).encode())
    assert status == 200
    assert [answer["seen"]["text"] for answer in answers] == [str(number) for number in range(MAX_REQUESTS)]
    assert len(send(b'[{"text": "a"}]')[1]) == 1


@pytest.mark.parametrize("count", [0, MAX_REQUESTS + 1])
def test_empty_and_long_lists_are_refused(count: int) -> None:
    assert refused(send(json.dumps([{"text": "a"}] * count).encode())) == f"body: {count} requests at once; send 1 to 32"


@pytest.mark.parametrize(
    ("body", "error", "loc"),
    [
        (b"{}", "text: Field required", ["text"]),
        (b"", "text: Field required", ["text"]),
        (b"7", "body: ", []),
        (b"null", "body: ", []),
        (b'"text"', "body: ", []),
        (b'{"text": 7}', "text: ", ["text"]),
        (b'{"text": "a", "number": 101}', "number: ", ["number"]),
        (b'{"text": "a", "number": "many"}', "number: ", ["number"]),
        (b'{"text": "a", "number": 1e400}', "number: ", ["number"]),
        (b'{"text": "a", "share": NaN}', "body: Invalid JSON", None),
        (b'{"text": "a", "colour": "red"}', "colour: Extra inputs", ["colour"]),
        (b'{"text": "a", "boxes": [[1], [2, "x"]]}', "boxes.1.1: ", ["boxes", 1, 1]),
        (b'[{"text": "a"}, {"text": "b", "mode": "loud"}]', "1.mode: ", [1, "mode"]),
        (b'[{"text": "a"}, 7]', "1: ", [1]),
        (b'{"text": "a"', "body: Invalid JSON", None),
        (b"not JSON", "body: Invalid JSON", None),
        (b"\xff\xfe{\x00}\x00", "body: Invalid JSON", None),
        (b'{"text": "\xff"}', "body: Invalid JSON", None),
        (b'{"text": "\\ud800"}', "body: Invalid JSON", None),
        (b"[" * 200_000, "body: Invalid JSON", None),
        (b'{"text": ' * 200_000, "body: Invalid JSON", None),
    ],
    ids=range(21),
)
def test_what_is_wrong_is_named(body: bytes, error: str, loc: list[Any] | None) -> None:
    answer = send(body)
    assert refused(answer).startswith(error)
    assert [entry["loc"] for entry in answer[1]["detail"]] == ([] if loc is None else [loc])


def test_all_that_is_wrong_is_named_at_once() -> None:
    answer = send(b'{"number": -1, "colour": "red", "share": 2}')
    assert [entry["loc"] for entry in answer[1]["detail"]] == [["text"], ["number"], ["share"], ["colour"]]
    assert all(entry["msg"] in refused(answer) for entry in answer[1]["detail"])


@pytest.mark.slow
def test_very_many_fields_get_a_short_error() -> None:
    answer = send(json.dumps({f"field {number}": number for number in range(200_000)}).encode())
    assert refused(answer) == "body: 200000 fields in one request"
    assert len(refused(send(json.dumps({"text": "a", "x" * 100_000: 1}).encode()))) < 300


def test_a_text_may_hold_any_character() -> None:
    text = "\0 a\u202eb \x7f \U0010ffff ' \" \r\n"
    assert seen(send(json.dumps({"text": text}).encode()))["text"] == text
    assert seen(form(("image", b"i"), ("text", text)))["text"] == text


def test_the_media_type_of_json_is_optional() -> None:
    assert TEXTS.post("/predict", content=b'{"text": "a"}').status_code == 200
    assert send(b'{"text": "a"}', "Application/JSON; charset=utf-8")[0] == 200


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json2", "\xff", "x" * 5000]
)
@pytest.mark.parametrize(("client", "wanted"), [(TEXTS, "application/json"), (PICTURES, "multipart/form-data with a file in")])
def test_another_media_type_is_refused(kind: str, client: Any, wanted: str) -> None:
    answer = client.post("/predict", content=b'{"text": "a"}', headers={b"Content-Type": kind.encode("latin-1")})
    assert wanted in refused((answer.status_code, answer.json()), 415)
    assert len(answer.json()["error"]) < 250


def test_tasks_without_files_refuse_forms() -> None:
    answer = TEXTS.post("/predict", files={"text": (None, "a")})
    assert refused((answer.status_code, answer.json()), 415) == "body: send application/json, not multipart/form-data"


def test_a_file_arrives_as_it_was_sent() -> None:
    everything = bytes(range(256)) * 9000  # more than the library keeps in memory by itself
    assert seen(form(("image", everything)))["image"].encode("latin-1") == everything
    assert seen(form(("image", b"")))["image"] == ""


def test_a_repeated_file_field_gets_a_list() -> None:
    status, answers = form(("image", b"1"), ("image", b"2"), ("number", "9"), ("other", b"a"), ("other", b"b"))
    assert status == 200
    assert [(entry["seen"]["image"], entry["seen"]["other"], entry["seen"]["number"]) for entry in answers] == [
        ("1", "a", 9),
        ("2", "b", 9),
    ]


def test_pairs_of_files_are_limited_like_single_files() -> None:
    status, answers = form(*[("image", b"1"), ("other", b"2")] * MAX_REQUESTS)
    assert (status, len(answers)) == (200, MAX_REQUESTS)
    assert refused(form(*[("image", b"1"), ("other", b"2")] * (MAX_REQUESTS + 1))).startswith("body: ")
    assert refused(form(*[("image", b"1")] * (MAX_REQUESTS + 1))).startswith("body: 33 requests at once")


def test_unequal_numbers_of_files_are_refused() -> None:
    assert refused(form(("image", b"1"), ("image", b"2"), ("other", b"a"))).startswith("image and other: send as many")


@pytest.mark.parametrize("address", ["http://192.0.2.1/a.png", "a.png", "data:image/png;base64,iVBORw0KGgo=", ""])
def test_an_address_is_refused_and_never_fetched(address: str) -> None:
    assert refused(form(("image", address))).startswith("image: send the file itself")
    assert refused(form(("image", b"1"), ("image", address))).startswith("image: send the file itself")
    assert refused(send(json.dumps({"image": address}).encode(), client=PICTURES)).startswith("image: send the file itself")
    assert refused(send(json.dumps([{}, {"other": address}]).encode(), client=PICTURES)).startswith(
        "other: send the file itself"
    )


def test_missing_and_unexpected_files_are_named() -> None:
    assert refused(form(("number", "1"))) == "image: Field required"
    assert refused(send(b"{}", client=PICTURES)) == "image: Field required"
    assert refused(form(("image", b"1"), ("text", b"2"))) == "text: this field does not take a file"
    assert refused(form(("image", b"1"), ("colour", b"2"))) == "colour: this field does not take a file"


@pytest.mark.parametrize("text", ["2024", "true", "null", "[1]", '{"a": 1}', '"quoted"', "", " 7 ", "1e3", "NaN"])
def test_a_text_in_a_form_stays_that_text(text: str) -> None:
    assert seen(form(("image", b"1"), ("text", text)))["text"] == text


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("number", "7", 7),
        ("share", "0.5", 0.5),
        ("share", "null", None),
        ("exact", "true", True),
        ("mode", "2024", "2024"),
        ("mode", "true", "true"),
        ("boxes", "[[1, 2], [3]]", [[1, 2], [3]]),
        ("labels", '["cat", "2024"]', ["cat", "2024"]),
        ("labels", "2024", ["2024"]),
        ("labels", "cat, dog", ["cat, dog"]),
        ("labels", '{"cat": 1}', ['{"cat": 1}']),
    ],
)
def test_a_forms_values_follow_their_fields_types(field: str, text: str, value: Any) -> None:
    assert seen(form(("image", b"1"), (field, text)))[field] == value


def test_a_repeated_field_is_a_list_if_possible() -> None:
    assert seen(form(("image", b"1"), ("labels", "7"), ("labels", "[8]")))["labels"] == ["7", "[8]"]
    assert seen(form(("image", b"1"), ("boxes", "[1, 2]"), ("boxes", "[3]")))["boxes"] == [[1, 2], [3]]
    assert seen(form(("image", b"1"), ("number", "3"), ("number", "4")))["number"] == 4


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("number", "many"),
        ("number", "101"),
        ("number", "9" * 5000),
        ("number", "[" * 100_000),
        ("share", "NaN"),
        ("share", "Infinity"),
        ("mode", "loud"),
        ("labels", "[]"),
        ("labels", "[7]"),
        ("labels", '["\\ud800", 1]' + "x" * 500),
        ("boxes", '[["a"]]'),
        ("colour", '{"\\ud800": 1}'),
    ],
)
def test_a_wrong_form_value_is_named(field: str, text: str) -> None:
    assert refused(form(("image", b"1"), (field, text))).partition(":")[0].split(".")[0] == field


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data"),
        (b"", "multipart/form-data; boundary="),
        (b"junk", "multipart/form-data; boundary=x"),
        (b"--x\r\n\r\n1\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nhalf', "multipart/form-data; boundary=x"),
        (b"--x\r\n" + b"A" * 100_000, "multipart/form-data; boundary=x"),
        (b"", "multipart/form-data; boundary=" + "x" * 1000),
        (b"", "multipart/form-data; boundary=\xff"),
    ],
    ids=range(9),
)
def test_a_broken_form_is_refused(body: bytes, kind: str) -> None:
    answer = PICTURES.post("/predict", content=body, headers={b"Content-Type": kind.encode("latin-1")})
    assert refused((answer.status_code, answer.json())).partition(":")[0] in ("body", "image")


@pytest.mark.parametrize("charset", ["undefined", "unicode_escape", "utf-7", "idna", '"latin-1"', "utf-16", "base64", "utf-80"])
def test_a_form_in_another_charset_is_refused(charset: str) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n\\ud800\r\n--x--\r\n'
    for parameters in (f"boundary=x; charset={charset}", f"Charset = {charset};boundary=x"):
        assert "UTF-8" in refused(send(body, f"multipart/form-data; {parameters}", PICTURES), 415)
    assert refused(send(body, "multipart/form-data; boundary=x; charset=UTF-8", PICTURES)) == "image: Field required"


def test_a_form_of_thousands_of_fields_is_refused() -> None:
    assert refused(form(*[("number", "1")] * 1001)).startswith("body: Too many fields")


def arriving(
    chunks: list[bytes], limit: int, content_type: bytes = b"application/json"
) -> tuple[ParsedRequest | HttpError, int]:
    """A body read piece by piece, and how many pieces were left when that ended."""
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"content-type", content_type)]}
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": len(left) > 0 or limit == 0}

    try:
        return asyncio.run(read_request(Http(scope, receive), TextRequest)), len(left)
    except HttpError as refusal:
        return refusal, len(left)


def test_a_large_body_is_refused_while_it_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "MAX_JSON", 1000)
    refusal, left = arriving([b" " * 300] * 10, 1000)
    assert isinstance(refusal, HttpError)
    assert (refusal.status, refusal.error, left) == (413, "body: larger than 1000 bytes", 6)
    order, left = arriving([b'{"text": "a"}'.ljust(500), b" " * 500], 1000)
    assert isinstance(order, ParsedRequest)
    assert left == 0


def test_an_unsupported_body_is_not_read() -> None:
    refusal, left = arriving([b"x"] * 5, 1, b"text/csv")
    assert isinstance(refusal, HttpError)
    assert (refusal.status, left) == (415, 5)


def test_a_cut_connection_is_not_a_failure() -> None:
    refusal, _ = arriving([b'{"text":'], 0)
    assert isinstance(refusal, HttpError)
    assert (refusal.status, refusal.error.startswith("body: the connection ended")) == (400, True)


KINDS = ["application/json", "multipart/form-data; boundary=x", "text/plain"]
NAMES = [*PictureRequest.model_fields, "x"]
quick = settings(max_examples=50)


@quick
@given(body=st.binary(max_size=300), kind=st.sampled_from(KINDS))
def test_any_bytes_get_a_status_below_500(body: bytes, kind: str) -> None:
    for client in (TEXTS, PICTURES):
        status, answer = send(body, kind, client)
        assert status in (200, 400, 415)
        assert status == 200 or answer["error"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@quick
@given(values=JSON_VALUES | st.fixed_dictionaries({}, optional=dict.fromkeys(TextRequest.model_fields, JSON_VALUES)))
def test_any_json_is_read_or_refused(values: Any) -> None:
    status, answer = send(json.dumps(values).encode("utf-8", "surrogatepass"))
    if status != 200:
        assert refused((status, answer)).partition(":")[0]


@quick
@given(parts=st.lists(st.tuples(st.sampled_from(NAMES), st.text(max_size=20) | st.binary(max_size=20))))
def test_any_form_is_read_or_refused(parts: list[Part]) -> None:
    status, answer = form(("image", b"1"), *parts)
    if status != 200:
        assert refused((status, answer)).partition(":")[0]


@quick
@given(text=st.text(max_size=50))
def test_json_and_forms_carry_the_same_text(text: str) -> None:
    assert seen(send(json.dumps({"text": text}).encode()))["text"] == text
    assert seen(form(("image", b"1"), ("text", text)))["text"] == text
