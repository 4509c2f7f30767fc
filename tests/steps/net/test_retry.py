"""The retry loop: how often, how long, and what ends it. Waits are those of a clock that jumps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.errors import Reason, SlipwayError
from steps.net.retry import (
    SERVER_RETRIES,
    RetryPolicy,
    TransientError,
    is_transient,
    requested_wait,
    retry_after,
    retry_messages,
)
from tests.conftest import FakeClock

NOW = datetime(2026, 11, 23, 20, 0, 0, tzinfo=UTC)


def failing(times: int | None, wait: float | None = None) -> tuple[Callable[[], int], list[int]]:
    """Work that fails ``times`` times (None: always) and then returns its number of calls; and the list of its calls."""
    calls: list[int] = []

    def work() -> int:
        calls.append(len(calls) + 1)
        if times is None or len(calls) <= times:
            raise TransientError(Reason.SOURCE_BUSY, f"Failure {len(calls)}.", wait)
        return len(calls)

    return work, calls


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
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_no_header_breaks_retry_after(value: str) -> None:
    wait = retry_after(value, NOW)
    assert wait is None or wait >= 0


def test_success_needs_no_wait(clock: FakeClock) -> None:
    assert RetryPolicy(attempts=5).call(lambda: 7, clock=clock) == 7
    assert clock.slept == []


def test_the_wait_doubles_up_to_the_longest(clock: FakeClock) -> None:
    work, _ = failing(6)
    assert RetryPolicy(attempts=7, first=0.5, longest=4).call(work, clock=clock) == 7
    for expected, slept in zip([0.5, 1, 2, 4, 4, 4], clock.slept, strict=True):
        assert 0.8 * expected <= slept <= 1.2 * expected


def test_five_attempts_have_four_waits(clock: FakeClock) -> None:
    work, calls = failing(None, wait=30)
    messages: list[str] = []
    with pytest.raises(TransientError, match=r"Failure 5\."):
        RetryPolicy(attempts=5).call(work, clock=clock, notify=retry_messages(messages.append))
    assert (len(calls), clock.slept) == (5, [30] * 4)
    assert messages[0] == "Failure 1. Trying again in 30.0 s."


def test_a_short_retry_after_shortens_no_wait(clock: FakeClock) -> None:
    work, _ = failing(1, wait=0)
    RetryPolicy(attempts=2, first=8).call(work, clock=clock)
    assert 6.4 <= clock.slept[0] <= 9.6


def test_a_server_that_requests_hours_ends_the_tries(clock: FakeClock) -> None:
    work, calls = failing(None, wait=601)
    with pytest.raises(TransientError):
        RetryPolicy(attempts=5).call(work, clock=clock)
    assert (len(calls), clock.slept) == (1, [])


def test_the_last_try_begins_within_the_budget(clock: FakeClock) -> None:
    work, calls = failing(None)
    with pytest.raises(TransientError):
        RetryPolicy(budget=120).call(work, clock=clock)
    assert 60 < sum(clock.slept) <= 120
    assert len(calls) == len(clock.slept) + 1


@pytest.mark.fault("survived")
@pytest.mark.parametrize("outage", [1, 30, 90, 120])
def test_a_restart_of_two_minutes_is_outlasted(clock: FakeClock, outage: float) -> None:
    def work() -> str:
        if clock.monotonic() < outage:
            raise TransientError(Reason.NETWORK_UNREACHABLE, "Connection refused.")
        return "done"

    assert SERVER_RETRIES.call(work, clock=clock) == "done"
    assert clock.monotonic() < outage + 20


def test_requested_waits_are_not_the_budgets(clock: FakeClock) -> None:
    work, _ = failing(10, wait=60)
    assert RetryPolicy(budget=30).call(work, clock=clock) == 11
    assert clock.slept == [60] * 10


@pytest.mark.fault("refused")
def test_requested_waits_have_a_sum(clock: FakeClock) -> None:
    work, calls = failing(None, wait=60)
    with pytest.raises(TransientError):
        RetryPolicy(budget=30, longest_retry_after=180).call(work, clock=clock)
    assert (len(calls), clock.slept) == (4, [60] * 3)


@pytest.mark.fault("survived")
def test_long_tries_are_repeated_all_the_same(clock: FakeClock) -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        clock.sleep(3600)
        raise TransientError(Reason.NETWORK_UNREACHABLE, "Connection reset.")

    with pytest.raises(TransientError):
        SERVER_RETRIES.call(work, clock=clock)
    assert len(calls) == SERVER_RETRIES.least


def test_a_failure_may_have_a_shorter_budget(clock: FakeClock) -> None:
    def work() -> None:
        raise TransientError(Reason.NETWORK_UNREACHABLE, "No such host.", budget=20)

    with pytest.raises(TransientError):
        SERVER_RETRIES.call(work, clock=clock)
    assert 5 < clock.monotonic() <= 25


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        *((status, True) for status in (408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 522, 599)),
        *((status, False) for status in (200, 400, 401, 403, 404, 405, 410, 413, 422, 501, 505, 511)),
    ],
)
def test_statuses_that_may_pass(status: int, transient: bool) -> None:
    assert is_transient(status) == transient


def test_a_permanent_failure_is_not_tried_again(clock: FakeClock) -> None:
    def work() -> None:
        raise SlipwayError(Reason.ACCESS_DENIED, "No.")

    with pytest.raises(SlipwayError, match="No"):
        RetryPolicy(attempts=5).call(work, clock=clock)
    assert clock.slept == []


def test_a_client_names_its_own_transient_errors(clock: FakeClock) -> None:
    calls: list[int] = []

    def work() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise KeyError
        return "done"

    policy = RetryPolicy(attempts=2)
    assert policy.call(work, clock=clock, transient=lambda error: 3 if isinstance(error, KeyError) else None) == "done"
    assert clock.slept == [3]


def test_stopping_ends_a_wait(clock: FakeClock) -> None:
    stopped = threading.Event()
    work, calls = failing(None, wait=50)
    with pytest.raises(TransientError):
        RetryPolicy(attempts=5).call(work, clock=clock, stopped=stopped, notify=lambda error, wait: stopped.set())
    assert (len(calls), clock.slept) == (1, [])


def test_stopping_ends_a_real_wait() -> None:
    stopped = threading.Event()
    timer = threading.Timer(0.05, stopped.set)
    timer.start()
    work, calls = failing(None, wait=500)
    with pytest.raises(TransientError):
        RetryPolicy(attempts=5).call(work, stopped=stopped)
    timer.join()
    assert len(calls) == 1


def test_a_restart_counts_from_the_beginning(clock: FakeClock) -> None:
    retries = RetryPolicy(attempts=2).start(clock=clock)
    error = TransientError(Reason.SOURCE_BUSY, "Busy.", 5)
    retries.wait_after(error)
    retries.restart()
    retries.wait_after(error)
    with pytest.raises(TransientError):
        retries.wait_after(error)
    assert clock.slept == [5, 5]


def test_a_policy_without_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="attempts or a budget"):
        RetryPolicy()


def test_only_transient_errors_request_a_wait() -> None:
    assert requested_wait(TransientError(Reason.SOURCE_BUSY, "Busy.")) == 0
    assert requested_wait(TransientError(Reason.SOURCE_BUSY, "Busy.", 4)) == 4
    assert requested_wait(SlipwayError(Reason.SOURCE_BUSY, "Busy.")) is None
