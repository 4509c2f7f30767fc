"""Bodies of S3's answers: read to the end, and given up where a server lets a byte through now and then."""

from __future__ import annotations

import time

import pytest
from botocore.exceptions import IncompleteReadError

from steps.net.least_rate import LeastRate, TooSlowError
from steps.store.s3_client import RawBody, read_body, transient


class Raw:
    """A connection that brings ``pieces``, each after ``seconds``."""

    def __init__(self, pieces: list[bytes], seconds: float) -> None:
        self.pieces, self.seconds = pieces, seconds

    def read1(self, amt: int) -> bytes:
        """The next piece."""
        assert amt > 0
        time.sleep(self.seconds)
        return self.pieces.pop(0) if self.pieces else b""


class FakeBody:
    """The body of an answer."""

    def __init__(self, pieces: list[bytes], seconds: float = 0.0) -> None:
        self._raw_stream: RawBody = Raw(pieces, seconds)
        self.closed = False

    def close(self) -> None:
        """Note it."""
        self.closed = True


def test_a_body_is_read_to_its_end() -> None:
    body = FakeBody([b"ab", b"c", b"d"])
    assert read_body(body, 4, "s3://b/x", LeastRate(10_000, 60)) == b"abcd"
    assert body.closed


@pytest.mark.fault("survived")
def test_a_body_that_drips_is_given_up() -> None:
    body = FakeBody([b"a"] * 1000, seconds=0.02)
    with pytest.raises(TooSlowError, match="s3://b/x: the server sent") as caught:
        read_body(body, 4, "s3://b/x", LeastRate(10_000, 0.05))
    assert body.closed
    assert transient(caught.value) == 0.0, "another connection may be faster"


@pytest.mark.fault("survived")
def test_a_body_that_ends_early_is_tried_again() -> None:
    with pytest.raises(IncompleteReadError) as caught:
        read_body(FakeBody([b"ab"]), 4, "s3://b/x", LeastRate(10_000, 60))
    assert transient(caught.value) == 0.0
