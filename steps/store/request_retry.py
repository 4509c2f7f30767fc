"""The retries of one client library: ``RetryPolicy`` with the errors of that library that are transient."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ParamSpec, TypeVar

from steps.net.retry import RetryPolicy, ignore_retries

ONE_TRY = RetryPolicy(attempts=1)
TIMEOUT = 60.0  # seconds without an answer

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class RequestRetry:
    """How the requests of one client library are tried again.

    Attributes:
        policy: How often, and with which waits.
        transient: As ``RetryPolicy.call`` takes it: the seconds that the server asks to wait after an error, 0 where it
            names none, None where trying again cannot help.
        notify: As ``RetryPolicy.call`` takes it: called with each error that is tried again, and the wait in seconds.
    """

    policy: RetryPolicy
    transient: Callable[[Exception], float | None]
    notify: Callable[[Exception, float], None] = ignore_retries

    def call(self, request: Callable[[], T], stopped: threading.Event | None = None) -> T:
        """Return what ``request`` returns; raises what its last try raised. Setting ``stopped`` ends a wait."""
        return self.policy.call(request, transient=self.transient, notify=self.notify, stopped=stopped)

    def __call__(self, request: Callable[P, T]) -> Callable[P, T]:
        """Return ``request`` with the retries around it: the form of google-cloud-storage's parameter ``retry``."""

        def with_retries(*args: P.args, **kwargs: P.kwargs) -> T:
            return self.call(lambda: request(*args, **kwargs))

        return with_retries

    def limited(self, seconds: float) -> RequestRetry:
        """The same with a budget of at most ``seconds``."""
        budget = seconds if self.policy.budget is None else min(seconds, self.policy.budget)
        return replace(self, policy=replace(self.policy, budget=budget))
