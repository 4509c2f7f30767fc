"""The retries of a client library's requests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from steps.net.retry import SERVER_RETRIES, RetryPolicy
from steps.store.request_retry import ONE_TRY, RequestRetry

QUICK = RetryPolicy(attempts=3, first=0.001)


def transient(error: Exception) -> float | None:
    return 0.0 if isinstance(error, ConnectionError) else None


class Request:
    """Fails ``failures`` times, then answers with what it is given."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self, answer: str, *, times: int = 1) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return answer * times


def test_a_transient_error_is_tried_again() -> None:
    request = Request(2, ConnectionError())
    assert RequestRetry(QUICK, transient)(request)("a", times=2) == "aa"
    assert request.calls == 3


def test_another_error_is_raised_at_once() -> None:
    request = Request(1, ValueError("mine"))
    with pytest.raises(ValueError, match="mine"):
        RequestRetry(QUICK, transient)(request)("a")
    assert request.calls == 1


def test_one_try_is_one_try() -> None:
    request = Request(1, ConnectionError())
    with pytest.raises(ConnectionError):
        RequestRetry(ONE_TRY, transient)(request)("a")
    assert request.calls == 1


def test_a_limit_shortens_the_budget_only() -> None:
    retry = RequestRetry(SERVER_RETRIES, transient)
    assert retry.limited(10).policy == replace(SERVER_RETRIES, budget=10)
    assert retry.limited(1000).policy == SERVER_RETRIES
