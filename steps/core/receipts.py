"""Doing a step once: receipts, and the records of a run.

A receipt says that a step with these inputs was done by this code, what came out, and the digest of every object that it
left in the store. It is written last. A later run with equal inputs finds it, checks those objects byte by byte, and
skips the work; a changed object stops the run (``DigestMismatch``) rather than being papered over.

The same facts, or the failure, go to ``runs/<run>/<node>.json``, which the report step and the tables read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steps.core.contract import Context, Inputs, InputsT, Outputs, OutputsT, Step
from steps.core.digest import canonical_json, sha256_bytes
from steps.core.errors import Reason, SlipwayError, Terminated, to_slipway_error

_USERINFO = re.compile(r"//[^/@\s]*@")


class Failure(BaseModel):
    """A failure as it is written down."""

    model_config = ConfigDict(frozen=True)

    reason: Reason
    message: str
    hint: str
    retryable: bool

    @classmethod
    def from_error(cls, error: SlipwayError) -> Failure:
        return cls(reason=error.reason, message=error.message, hint=error.hint, retryable=error.reason.retryable)


class Receipt(BaseModel):
    """What a step did. ``objects`` maps store keys to SHA-256; times are UTC and seconds."""

    model_config = ConfigDict(frozen=True)

    step: str
    service: str = ""
    inputs: dict[str, Any]
    outputs: dict[str, Any] = Field(default_factory=dict)
    objects: dict[str, str] = Field(default_factory=dict)
    started: str
    seconds: float
    cpu_seconds: float
    failure: Failure | None = None

    @property
    def node(self) -> str:
        """The step's place in a run: ``fetch``, or ``text-classification/smoke`` in a branch."""
        return f"{self.service}/{self.step}" if self.service else self.step


@dataclass(frozen=True)
class StepResult(Generic[OutputsT]):
    """The outcome of ``execute``: the outputs, and whether they were there before."""

    outputs: OutputsT
    receipt: Receipt
    skipped: bool


def execute(step: Step[InputsT, OutputsT], inputs: InputsT, context: Context, *, run: str = "") -> StepResult[OutputsT]:
    """Do a step unless its receipt shows that it is done; record it under ``run`` when one is named.

    Raises the step's ``SlipwayError``, after it was recorded.
    """
    started, begin, cpu = context.clock.now(), context.clock.monotonic(), cpu_seconds()

    def receipt(outputs: Outputs | None, failure: Failure | None = None) -> Receipt:
        return Receipt(
            step=step.name,
            service=getattr(inputs, "service", ""),
            inputs=presentable(inputs),
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
    """The receipt of this step with these (pinned) inputs, its objects checked; None where the step is not done.

    A receipt that is damaged, or whose objects were deleted, counts for nothing; one whose objects changed raises
    ``DigestMismatch``.
    """
    key = receipt_key(step.name, inputs)
    if context.store.size(key) is None:
        return None
    receipt = parse_receipt(b"".join(context.store.read(key)))
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
    """Equal code and equal inputs, equal key."""
    identity = {"step": step, "code": code_digest(), "inputs": inputs.model_dump(mode="json")}
    return f"receipts/{step}/{sha256_bytes(canonical_json(identity))}.json"


def write_record(context: Context, run: str, receipt: Receipt) -> None:
    """Write down what became of a step in a run; the last attempt stands."""
    context.store.write(f"runs/{run}/{receipt.node}.json", dump_receipt(receipt))


def read_records(context: Context, run: str) -> list[Receipt]:
    """The steps of a run so far, in the order in which they began."""
    keys = [key for key in context.store.list(f"runs/{run}/") if key.endswith(".json")]
    found = [parse_receipt(b"".join(context.store.read(key))) for key in keys]
    return sorted((receipt for receipt in found if receipt), key=lambda receipt: receipt.started)


def presentable(inputs: Inputs) -> dict[str, Any]:
    """The inputs as they are written down: a secret in an address, which is refused anyway, is not kept."""
    values = inputs.model_dump(mode="json")
    return {name: _USERINFO.sub("//…@", value) if isinstance(value, str) else value for name, value in values.items()}


def dump_receipt(receipt: Receipt) -> bytes:
    """A receipt as it is stored: its name says nothing about its content, so its own digest stands in it."""
    body = receipt.model_dump(mode="json")
    return canonical_json({**body, "sha256": sha256_bytes(canonical_json(body))})


def parse_receipt(data: bytes) -> Receipt | None:
    """What ``dump`` wrote; None for anything else. A damaged receipt is as good as none: the step is done, or found, again."""
    try:
        body = json.loads(data)
        sha256 = body.pop("sha256")
        return Receipt.model_validate(body) if sha256_bytes(canonical_json(body)) == sha256 else None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return None


@functools.cache
def code_digest() -> str:
    """A digest over this package's files: new code or new pins do their work anew, beside the old."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cpu_seconds() -> float:
    """CPU time of this process and its finished children, user and system."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
