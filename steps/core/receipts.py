"""Running a step once: receipts, and the records of a run.

A receipt says that a step with these inputs was done by this code, what its outputs are, and the digest of every object that it
published. It is written last, to ``receipts/<step>/<digest>.json``. A later run with equal inputs finds it, checks those
objects byte by byte, and skips the work; an object that changed stops the run (``DigestMismatch``).

The same data, or the failure, go to ``runs/<run>/<node>.json``, which the report step and the tables read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from steps.core.contract import Context, Inputs, InputsT, Outputs, OutputsT, Step
from steps.core.digest import canonical_json, sha256_bytes
from steps.core.errors import Reason, SlipwayError, Terminated, to_slipway_error
from steps.core.json_reader import DOCUMENT, read_object
from steps.core.redaction import redact, redact_values

# Inputs and outputs as JSON has them; which fields there are depends on the step.
Values = dict[str, Any]
Redacted = Annotated[str, AfterValidator(redact)]  # whoever wrote the text: Argo, or an earlier version of Slipway


class Failure(BaseModel):
    """A failure as records, the termination log and ``--progress json`` have it."""

    model_config = ConfigDict(frozen=True)

    reason: Reason
    message: Redacted
    hint: Redacted
    retryable: bool

    @classmethod
    def from_error(cls, error: SlipwayError) -> Failure:
        """Take the fields from an error."""
        return cls(reason=error.reason, message=error.message, hint=error.hint, retryable=error.reason.retryable)


class Receipt(BaseModel):
    """What a step did.

    Attributes:
        step: The step's name.
        service: The service that it ran for; empty for a step that runs once a model.
        inputs: Its inputs, without secrets.
        outputs: Its outputs; empty after a failure.
        objects: The store keys that it published, with their SHA-256.
        started: When it began, in UTC and ISO 8601.
        seconds: How long it took.
        cpu_seconds: CPU time of its process and of finished child processes.
        failure: Why it failed; None where it was done.
    """

    model_config = ConfigDict(frozen=True)

    step: str
    service: str = ""
    inputs: Values
    outputs: Values = Field(default_factory=dict)
    objects: dict[str, str] = Field(default_factory=dict)
    started: str
    seconds: float
    cpu_seconds: float
    failure: Failure | None = None

    @property
    def node(self) -> str:
        """The step's name in a run: ``fetch``, or ``text-classification/smoke`` for a service."""
        return f"{self.service}/{self.step}" if self.service else self.step


@dataclass(frozen=True)
class StepResult(Generic[OutputsT]):
    """The result of ``execute``: outputs and receipt, and whether the work was skipped because it was done before."""

    outputs: OutputsT
    receipt: Receipt
    skipped: bool


def execute(step: Step[InputsT, OutputsT], inputs: InputsT, context: Context, *, run: str = "") -> StepResult[OutputsT]:
    """Run a step unless its receipt shows that it is done.

    Args:
        step: What to run.
        inputs: Its inputs; names that move are pinned first.
        context: Where it runs.
        run: The run that the receipt, or the failure, is recorded under; empty: none.

    Raises:
        SlipwayError: The step's own error, after it was recorded; ``DigestMismatch`` when an object of its receipt changed.
    """
    started, begin, cpu = context.clock.now(), context.clock.monotonic(), cpu_seconds()

    def receipt(outputs: Outputs | None, failure: Failure | None = None) -> Receipt:
        return Receipt(
            step=step.name,
            service=getattr(inputs, "service", ""),
            inputs=without_secrets(inputs),
            outputs=outputs.model_dump(mode="json") if outputs else {},
            objects=dict(context.published),
            started=started.isoformat(timespec="milliseconds"),
            seconds=round(context.clock.monotonic() - begin, 3),
            cpu_seconds=round(cpu_seconds() - cpu, 3),
            failure=failure,
        )

    try:
        if step.pin:
            inputs = step.pin(inputs, context)
        done = find_result(step, inputs, context)
        if done is None:
            context.published.clear()
            outputs = step.run(inputs, context)
            done = StepResult(outputs, receipt(outputs), skipped=False)
            context.store.write(receipt_key(step.name, inputs), dump_receipt(done.receipt))
    except (Exception, KeyboardInterrupt, Terminated) as error:
        failure = to_slipway_error(error)
        if run:
            with contextlib.suppress(SlipwayError):  # a store that is full or gone must not hide why the step failed
                write_record(context, run, receipt(None, Failure.from_error(failure)))
        raise failure from failure.__cause__
    if run:
        write_record(context, run, done.receipt)
    return done


def find_result(step: Step[InputsT, OutputsT], inputs: InputsT, context: Context) -> StepResult[OutputsT] | None:
    """Find the receipt of this step with these pinned inputs and check its objects; None where the step is not done.

    A receipt that is damaged, or whose objects were deleted, counts as none. Raises ``DigestMismatch`` for an object that
    changed.
    """
    key = receipt_key(step.name, inputs)
    if context.store.size(key) is None:
        return None
    receipt = parse_receipt(context.read_small(key))
    if receipt is None:
        return None
    try:
        outputs = step.outputs.model_validate(receipt.outputs)
    except ValidationError:
        return None
    if any(context.store.size(name) is None for name in receipt.objects):
        return None
    for name, sha256 in receipt.objects.items():
        context.verify(name, sha256)
    return StepResult(outputs, receipt, skipped=True)


def receipt_key(step: str, inputs: Inputs) -> str:
    """Return the key of a receipt, a function of the step, this code and the inputs."""
    identity = {"step": step, "code": code_digest(), "inputs": inputs.model_dump(mode="json")}
    return f"receipts/{step}/{sha256_bytes(canonical_json(identity))}.json"


def write_record(context: Context, run: str, receipt: Receipt) -> None:
    """Record a step under a run, in place of the record of an earlier attempt."""
    context.store.write(f"runs/{run}/{receipt.node}.json", dump_receipt(receipt))


def read_records(context: Context, run: str) -> list[Receipt]:
    """Read the records of a run, in the order in which the steps began."""
    keys = [key for key in context.store.list(f"runs/{run}/") if key.endswith(".json")]
    found = [parse_receipt(context.read_small(key)) for key in keys]
    return sorted((receipt for receipt in found if receipt), key=lambda receipt: receipt.started)


def without_secrets(inputs: Inputs) -> Values:
    """Return the inputs as they are recorded, without the places for secrets in addresses (which are refused anyway)."""
    values: Values = redact_values(inputs.model_dump(mode="json"))
    return values


def dump_receipt(receipt: Receipt) -> bytes:
    """Write a receipt as it is stored, with a digest of itself, because its key does not depend on its content."""
    body = receipt.model_dump(mode="json")
    return canonical_json({**body, "sha256": sha256_bytes(canonical_json(body))})


def parse_receipt(data: bytes) -> Receipt | None:
    """Read what ``dump_receipt`` wrote; None for anything else: a damaged receipt counts as none."""
    try:
        body = read_object(data, DOCUMENT)
        sha256 = body.pop("sha256")
        return Receipt.model_validate(body) if sha256_bytes(canonical_json(body)) == sha256 else None
    except (ValueError, TypeError, AttributeError, LookupError):
        return None


@functools.cache
def code_digest() -> str:
    """Return a digest over all files of ``steps``: other code or other pins have other receipts."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cpu_seconds() -> float:
    """Return the CPU time, user and system, of this process and its finished child processes."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
