"""The end of a run that did not wait for its builds: they are cancelled, so that nothing is built that nobody will use.

The report step calls it, as the last step of a Workflow that failed or was stopped.
"""

from __future__ import annotations

from collections.abc import Iterable

from steps.core.contract import Context
from steps.core.graph import CLOUDBUILD
from steps.core.receipts import Receipt
from steps.images.cloud_build.build_once import cancel_builds


def cancel_unfinished(receipts: Iterable[Receipt], context: Context) -> None:
    """Cancel every build that a run started and did not finish; a later run starts it again.

    Args:
        receipts: The records of the run's steps.
        context: A context with the run's store; it gets a note for each build that is cancelled.

    Raises:
        SlipwayError: What Cloud Build answers to a cancellation (``AccessDenied``, ``BuilderBusy`` …).
    """
    kept = list(receipts)
    done = {receipt.service for receipt in kept if receipt.step == CLOUDBUILD.name and receipt.failure is None}
    for receipt in kept:
        if receipt.outputs.get("awaits") == CLOUDBUILD.name and receipt.service not in done:
            for build in cancel_builds(receipt.inputs["archive_digest"], context):
                context.progress.note(f"Build {build} is cancelled: the run has ended without it.")
