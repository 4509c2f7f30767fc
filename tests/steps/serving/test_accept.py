"""The Accept header decides between JSON and a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.serving.accept import prefers_file


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
def test_the_preferred_media_type_is_sent(accept: str, file: bool, first: bool) -> None:
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
