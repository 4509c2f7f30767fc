"""report: a run on one HTML page that needs nothing else: what came out, what each step did, and what failed where.

It reads the records that every step leaves under ``runs/<run>/`` and the documents they point to. A run that failed or
is not finished is reported as far as it came. The page lies at ``runs/<run>/report.html`` and is replaced when the run changes.
As the last step of a workflow that failed or was stopped, it also cancels what Cloud Build would still build for it.
"""

from __future__ import annotations

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.digest import canonical_json, sha256_bytes
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import Receipt, code_digest, read_records, receipt_key
from steps.images.cloud_build.unfinished import cancel_unfinished
from steps.reporting.document_reader import DocumentReader
from steps.reporting.report_view import report_view
from steps.templates import fill


class ReportInputs(Inputs):
    report_run: str = Field(description="the run to report on", pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+@-]*$", max_length=200)
    status: str = Field("", description="how the workflow engine says the run ended", max_length=200)
    state: str = Field("", description="set by the step itself: a digest over the run's records")


class ReportOutputs(Outputs):
    report: str = Field(description="store key of the HTML page")


def run(inputs: ReportInputs, context: Context) -> ReportOutputs:
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
    if inputs.status not in ("", "Succeeded"):  # nobody waits any more for what goes on elsewhere
        cancel_unfinished(receipts, context)
    return ReportOutputs(report=key)


def pin(inputs: ReportInputs, context: Context) -> ReportInputs:
    """The same inputs with the run's state, so that an unchanged run is not reported twice and a changed one is.

    The page is the one object that is written over. A run that comes back to a state that was reported before finds another
    state's page, which the old receipt would call damaged: there, the time makes the state new.
    """
    state = state_of(inputs, reported(inputs, context))
    pinned = inputs.model_copy(update={"state": state})
    if context.store.size(receipt_key(STEP.name, pinned)) is None or context.store.size(report_key(inputs)) is None:
        return pinned
    if state.encode() in b"".join(context.store.read(report_key(inputs))):
        return pinned
    return inputs.model_copy(update={"state": f"{state} {context.clock.now().isoformat()}"})


def reported(inputs: ReportInputs, context: Context) -> list[Receipt]:
    """The run's records, without that of an earlier report."""
    return [receipt for receipt in read_records(context, inputs.report_run) if receipt.step != STEP.name]


def state_of(inputs: ReportInputs, receipts: list[Receipt]) -> str:
    """A digest over all that decides what the page says, this code included."""
    dumps = [receipt.model_dump(mode="json") for receipt in receipts]
    return sha256_bytes(canonical_json([code_digest(), inputs.status, dumps]))


def report_key(inputs: ReportInputs) -> str:
    return f"runs/{inputs.report_run}/report.html"


STEP = Step("report", "Write one HTML page about a run, whether it succeeded or not.", ReportInputs, ReportOutputs, run, pin)

if __name__ == "__main__":
    main(STEP)
