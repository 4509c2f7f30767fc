"""Waiting for a run in the cluster to end, and showing it meanwhile to a ``RunView``.

The objects are read again every second. That outlives a restart of the API server, and a second is short beside the time that a
pod takes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Self

from crd.kubernetes_client import KubernetesClient
from pipelines.cluster.runs import ModelRun, Phase, find_run
from pipelines.cluster.steps import StepState
from steps.core.clock import Clock, SystemClock
from steps.core.errors import Reason, SlipwayError

POLL_SECONDS = 1.0
MAX_FAILED_READS = 60  # in a row, before a transient failure of the API server ends the command
START_SECONDS = 120  # by then the Sensor or, where it failed, the operator has created the Workflow
SETTLE_SECONDS = 60  # by then the operator has written the end of the Workflow into the status


class RunView:
    """What shows a run; this base class shows nothing. It is a context manager around the whole wait."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the terminal as it was."""

    def show(self, run: ModelRun) -> None:
        """Show the run as it is now; called again and again."""
        for step in run.steps:
            self.show_step(step)

    def show_step(self, step: StepState) -> None:
        """Show one step as it is now."""

    def note(self, text: str) -> None:
        """Show a sentence."""


def wait_for_run(cluster: KubernetesClient, name: str, view: RunView) -> ModelRun:
    """Show the run of a Model or a Workflow until it ends, and return it.

    Raises:
        SlipwayError: ``Interrupted`` at Ctrl-C, which leaves the run alone and the terminal in order; otherwise as
            ``poll_run`` raises.
    """
    try:
        with view:
            return poll_run(lambda: find_run(cluster, name), view, SystemClock())
    except KeyboardInterrupt:
        raise SlipwayError(
            Reason.INTERRUPTED,
            "Stopped watching; the run goes on in the cluster.",
            hint=f"slipway status -n {cluster.namespace} {name}",
        ) from None


def poll_run(read: Callable[[], ModelRun], view: RunView, clock: Clock) -> ModelRun:
    """Read the run every ``POLL_SECONDS`` and show it until it has ended; return it as it is then.

    Raises:
        SlipwayError: ``MissingDependency`` when no Workflow is created for it within ``START_SECONDS``; and what ``read`` or
            the view raises, where it is not transient or lasts for ``MAX_FAILED_READS`` reads.
    """
    started, failed_reads, settling, told = clock.monotonic(), 0, 0.0, ""
    while True:
        try:
            run = read()
            if run.phase is Phase.SETTLING and (settling := settling or clock.monotonic()) + SETTLE_SECONDS < clock.monotonic():
                view.note(
                    "The status of the Model does not follow its Workflow: is the operator running? See `slipway doctor`."
                )
                run = dataclasses.replace(run, model=None)
            if run.unreadable != told:
                view.note(run.unreadable)
                told = run.unreadable
            view.show(run)
            failed_reads = 0
        except SlipwayError as error:
            failed_reads += 1
            if not error.reason.retryable or failed_reads > MAX_FAILED_READS:
                raise
            if failed_reads == 1:
                view.note(f"{error.message} Trying again …")
            clock.sleep(POLL_SECONDS)
            continue
        if run.phase in (Phase.SUCCEEDED, Phase.FAILED):
            return run
        if run.phase is Phase.WAITING and started + START_SECONDS < clock.monotonic():
            raise SlipwayError(
                Reason.MISSING_DEPENDENCY,
                f"No Workflow was started for {run.name} within {START_SECONDS} seconds.",
                hint="`slipway doctor` shows what is not running: sensor, event source or operator.",
            )
        clock.sleep(POLL_SECONDS)
