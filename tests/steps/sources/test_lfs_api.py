"""Pointers of Git LFS, and the address of its server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demo.repository import lfs_pointer
from steps.core.errors import Reason, SlipwayError
from steps.net.urls import check_source
from steps.sources.lfs_api import Pointer, endpoint, parse_pointer


@pytest.mark.slow
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
def test_a_malformed_pointer_is_an_error(content: bytes) -> None:
    with pytest.raises(SlipwayError, match=r"vocab\.txt") as caught:
        parse_pointer(content, "vocab.txt")
    assert caught.value.reason is Reason.SOURCE_PROTOCOL


def test_other_texts_are_not_pointers() -> None:
    assert parse_pointer(b"", "x") is None
    assert parse_pointer(b"version 5\n", "x") is None
    assert parse_pointer(GOOD + b"x" * 1024, "x") is None


@pytest.mark.parametrize(
    "address", ["https://example.invalid/a/b", "https://example.invalid/a/b.git", "https://example.invalid/a/b/"]
)
def test_the_lfs_server_follows_from_the_address_alone(address: str) -> None:
    assert str(endpoint(check_source(address))) == "https://example.invalid/a/b.git/info/lfs"
