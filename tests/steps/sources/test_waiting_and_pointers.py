"""Small rules of two protocols: ``Retry-After`` (RFC 9110, 10.2.3), and the pointers of Git LFS."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demo.repository import lfs_pointer
from steps.core.errors import Reason, SlipwayError
from steps.net.http import Busy, wait_before, with_retries
from steps.net.retry import retry_after
from steps.net.urls import check_source
from steps.sources.lfs_api import Pointer, endpoint, parse_pointer
from tests.conftest import FakeClock

NOW = datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 17 ", 17),
        ("Mon, 23 Nov 2026 20:01:30 GMT", 90),
        ("Mon, 23 Nov 2026 19:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 20:01:30 -0000", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\xb2", None),
        ("Mon, 99 Nov 99999 99:99:99 +9999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nonsense_is_ignored(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_no_header_breaks_the_reading_of_retry_after(value: str) -> None:
    wait = retry_after(value, NOW)
    assert wait is None or wait >= 0


def test_without_a_word_from_the_server_the_wait_doubles() -> None:
    busy = Busy(Reason.SOURCE_BUSY, "busy")
    for attempt in range(4):
        assert 0.4 * 2**attempt <= wait_before(attempt, busy) <= 0.6 * 2**attempt


def test_five_tries_and_four_waits_then_the_last_failure() -> None:
    clock = FakeClock()
    told: list[str] = []
    tries: list[None] = []

    def work() -> None:
        tries.append(None)
        raise Busy(Reason.SOURCE_BUSY, f"Busy the {len(tries)}. time.", wait=3)

    with pytest.raises(SlipwayError, match=r"Busy the 5\. time\."):
        with_retries(work, clock, told.append)
    assert clock.slept == [3] * 4
    assert told[0] == "Busy the 1. time. Trying again in 3 s."


@given(st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.integers(0, 10**17))
def test_a_pointer_is_read_back(oid: str, size: int) -> None:
    assert parse_pointer(lfs_pointer(oid, size), "x") == Pointer(oid, size)


GOOD = lfs_pointer("0" * 64, 12)
VERSION, OID, SIZE = GOOD.splitlines(keepends=True)


@pytest.mark.parametrize(
    "content",
    [
        GOOD.replace(b"\n", b"\r\n"),
        GOOD + b"x",
        GOOD[:-1],
        GOOD + b"ext-0-evil sha256:" + b"0" * 64 + b"\n",
        GOOD.replace(b"size 12", b"size 012"),
        GOOD.replace(b"size 12", b"size -1"),
        GOOD.replace(b"size 12", b"size 1" + b"0" * 30),
        GOOD.replace(b"sha256:", b"md5:"),
        GOOD.replace(b"0" * 64, b"A" * 64),
        GOOD.replace(b"0" * 64, b"0" * 63),
        GOOD.replace(b"spec/v1", b"spec/v2"),
        VERSION + SIZE + OID,
    ],
)
def test_a_pointer_out_of_shape_is_an_error_and_never_a_text(content: bytes) -> None:
    with pytest.raises(SlipwayError, match=r"vocab\.txt") as caught:
        parse_pointer(content, "vocab.txt")
    assert caught.value.reason is Reason.SOURCE_PROTOCOL


def test_other_texts_are_no_pointers() -> None:
    assert parse_pointer(b"", "x") is None
    assert parse_pointer(b"version 5\n", "x") is None
    assert parse_pointer(GOOD + b"x" * 1024, "x") is None


@pytest.mark.parametrize(
    "address", ["https://example.invalid/a/b", "https://example.invalid/a/b.git", "https://example.invalid/a/b/"]
)
def test_the_lfs_server_follows_from_the_address_alone(address: str) -> None:
    assert str(endpoint(check_source(address))) == "https://example.invalid/a/b.git/info/lfs"
