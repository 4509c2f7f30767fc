"""The step report: one HTML page about a run, with its results, what each step did, and what failed.

The page needs no other file. As the last step of a Workflow that failed or was stopped, the step also cancels the builds in
Cloud Build that the run left unfinished.
"""

from __future__ import annotations

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.digest import canonical_json, sha256_bytes
from steps.core.errors import Reason, SlipwayError
from steps.core.names import RunName
from steps.core.receipts import Receipt, code_digest, read_records, receipt_key
from steps.images.cloud_build.unfinished import cancel_unfinished
from steps.reporting.document_reader import DocumentReader
from steps.reporting.report_view import report_view
from steps.templates import fill


class ReportInputs(Inputs):
    """Which run to report on."""

    report_run: RunName = Field(description="name of the run to report on")
    status: str = Field(
        "", description="status of the Workflow at its end, as Argo has it; empty outside of a cluster", max_length=200
    )
    state: str = Field("", description="set by the step itself, to a digest over the run's records; leave it out")


class ReportOutputs(Outputs):
    """The page."""

    report: str = Field(description="store key of the HTML page")


def run(inputs: ReportInputs, context: Context) -> ReportOutputs:
    """Write one HTML page about a run, whether it succeeded, failed or is not finished.

    Reads the records under ``runs/RUN/`` and the documents that they name; a document that is missing or damaged is named on
    the page.

    Writes the page to ``runs/RUN/report.html``, in place of an earlier one. Where ``status`` is neither empty nor
    ``Succeeded``, unfinished builds in Cloud Build are cancelled.

    Repeating: the page is written again only when the run's records, the status or this code changed.

    Raises:
        SlipwayError: ``InvalidInput`` where the store has no record of the run; ``StoreUnreadable`` and ``StoreBusy`` from
            the store; what Cloud Build answers to a cancellation.
    """
    receipts = reported(inputs, context)
    if not receipts and not inputs.status:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"There is no record of a run {inputs.report_run!r} in {context.store.uri}.",
            hint="Name a run of this store, or the store it is in (--store).",
        )
    found = report_view(inputs.report_run, inputs.status, receipts, DocumentReader(context))
    html = fill("report/report.html.j2", escape=True, view=found, state=state_of(inputs, receipts)).encode()
    key = report_key(inputs)
    context.store.write(key, html)
    context.published[key] = sha256_bytes(html)
    context.progress.note(f"The report is at {context.store.locate(key)}.")
    if inputs.status not in ("", "Succeeded"):  # nothing waits for these builds any more
        cancel_unfinished(receipts, context)
    return ReportOutputs(report=key)


def pin(inputs: ReportInputs, context: Context) -> ReportInputs:
    """Add the run's state to the inputs, so that an unchanged run is not reported twice and a changed one is.

    The page is replaced in the store. When a run returns to a state that was reported before, the page is that of
    another state, and the old receipt would find it changed: then the time is added to the state.
    """
    state = state_of(inputs, reported(inputs, context))
    pinned = inputs.model_copy(update={"state": state})
    if context.store.size(receipt_key(STEP.name, pinned)) is None or context.store.size(report_key(inputs)) is None:
        return pinned
    if state.encode() in b"".join(context.store.read(report_key(inputs))):
        return pinned
    return inputs.model_copy(update={"state": f"{state} {context.clock.now().isoformat()}"})


def reported(inputs: ReportInputs, context: Context) -> list[Receipt]:
    """Read the run's records, without that of an earlier report."""
    return [receipt for receipt in read_records(context, inputs.report_run) if receipt.step != STEP.name]


def state_of(inputs: ReportInputs, receipts: list[Receipt]) -> str:
    """Return a digest over everything that the page depends on, this code included."""
    dumps = [receipt.model_dump(mode="json") for receipt in receipts]
    return sha256_bytes(canonical_json([code_digest(), inputs.status, dumps]))


def report_key(inputs: ReportInputs) -> str:
    """Return the page's key in the store."""
    return f"runs/{inputs.report_run}/report.html"


STEP = Step("report", "Write one HTML page about a run, whether it succeeded or not.", ReportInputs, ReportOutputs, run, pin)

if __name__ == "__main__":
    main(STEP)
