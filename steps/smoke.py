"""The step smoke: start the packaged service, send it the golden request, and compare with the model's own answer."""

from __future__ import annotations

import base64
import io
import math
import wave
from typing import Any, TypeGuard

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.documents import ModelFacts, SmokeResult
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Sha256
from steps.core.store import StoreKey
from steps.core.text import format_bytes
from steps.frameworks.libraries import require_libraries
from steps.package.local_service import send_golden_request, serve
from steps.package.unpack import unpack_archive
from steps.tasks.table import resolve

REQUESTS = 6  # the first one is cold; five are enough for a median
# The same weights on the same kind of machine: what differs is the order of sums over threads.
TOLERANCE = 1e-4


class SmokeInputs(Inputs):
    """Which package to test, and where the expected answer is."""

    service: str = Field(description="task that the package serves")
    archive: StoreKey = Field(description="store key of the archive")
    archive_digest: Sha256 = Field(description="SHA-256 that the archive must have")
    facts: StoreKey = Field(description="store key of the facts that the step load wrote")


class SmokeOutputs(Outputs):
    """How the service behaved."""

    smoke: str = Field(description="store key of the measurements and the answer")
    latency_ms: int = Field(description="median latency of the warm requests, in milliseconds")
    rss_bytes: int = Field(description="resident memory of the service's processes after the requests, in bytes")


def run(inputs: SmokeInputs, context: Context) -> SmokeOutputs:
    """Start the packaged service, send it the golden request several times, and compare its answers with the model's own.

    Reads the archive, which is unpacked and checked against its digest and its lock, and the golden answer in the facts. The
    service runs in a process of its own on a free port of loopback. Numbers may differ by one part in ten thousand, media by
    as much of their range on average; everything else must be equal. Needs the extra ``ml``.

    Publishes latencies, memory, the answer and the OpenAPI document under ``smokes/``.

    Repeating: with a receipt, the service is not started again.

    Raises:
        SlipwayError: ``UnknownTask`` and ``InvalidInput`` for wrong inputs; ``StoreUnreadable`` without archive or facts;
            ``DigestMismatch``, ``LockMismatch`` and ``UnsafePath`` for an archive that changed; ``BootFailed`` when the
            service does not start; ``SmokeMismatch`` for another answer; ``DiskFull``; ``MissingDependency`` without the
            extra ``ml``.
    """
    task = resolve(inputs.service)
    require_libraries()
    expected = context.read_document(inputs.facts, ModelFacts).expected.get(task.name)
    if expected is None:
        raise SlipwayError(
            Reason.INVALID_INPUT,
            f"{inputs.facts} has no golden answer for {task.name}.",
            hint="Run the step load for this task.",
        )
    with context.private_folder() as scratch:
        package = scratch / "package"
        where = context.store.locate(inputs.archive)
        unpack_archive(context.store.read(inputs.archive), package, sha256=inputs.archive_digest, what=where)
        context.progress.note("Starting the packaged service.")
        with serve(package, scratch / "home") as served:
            answers = [send_golden_request(served.url, expected.golden, package) for _ in range(REQUESTS)]
            smoke = SmokeResult(
                task=task.name,
                boot_seconds=round(served.boot_seconds, 3),
                latency_seconds=[round(seconds, 4) for _, seconds in answers],
                rss_bytes=served.rss_bytes(),
                golden=expected.golden,
                answer=answers[0][0],
                largest_difference=max(difference(expected.answer, answer) for answer, _ in answers),
                walls=text_list(served.get_object("/info").get("walls")),
                openapi=served.get_object("/docs.json"),
            )
    warm = sorted(smoke.latency_seconds[1:])
    median = round(1000 * warm[len(warm) // 2])
    context.progress.note(f"The service answers as the model does: {median} ms, {format_bytes(smoke.rss_bytes)} of memory.")
    return SmokeOutputs(smoke=context.publish_document("smokes", smoke), latency_ms=median, rss_bytes=smoke.rss_bytes)


def difference(expected: object, found: object, where: str = "answer") -> float:
    """Return the largest difference between numbers at the same place; everything else must be equal.

    Raises ``SmokeMismatch`` naming the place, for another shape, another text, or a number beyond the tolerance.
    """
    if is_media(expected) and is_media(found) and expected["media_type"] == found["media_type"]:
        return media_difference(expected, found, where)
    if isinstance(expected, dict) and isinstance(found, dict) and expected.keys() == found.keys():
        return max((difference(expected[key], found[key], f"{where}.{key}") for key in expected), default=0.0)
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return max((difference(one, other, f"{where}[{index}]") for index, (one, other) in pairs), default=0.0)
    if is_number(expected) and is_number(found):
        apart = abs(expected - found)
        if math.isfinite(apart) and apart <= TOLERANCE * max(1.0, abs(expected)):
            return float(apart)
    elif type(expected) is type(found) and expected == found:
        return 0.0
    raise SlipwayError(
        Reason.SMOKE_MISMATCH, f"The service answers differently from the model: {where} is {found!r}, not {expected!r}."
    )


def is_media(value: object) -> TypeGuard[dict[str, str]]:
    """Return whether this is a file inside an answer, ``steps.serving.fields.Media`` as JSON."""
    return isinstance(value, dict) and value.keys() == {"media_type", "data"}


def media_difference(expected: dict[str, str], found: dict[str, str], where: str) -> float:
    """Return the mean difference of the samples of two images or two sounds; 1 is the difference of black and white.

    Sums differ in their last bit with the number of threads, so single samples may be rounded differently.
    """
    if expected["data"] == found["data"]:
        return 0.0
    one, other = (samples(value["media_type"], base64.b64decode(value["data"])) for value in (expected, found))
    if one is not None and other is not None and one.shape == other.shape:
        apart = float(abs(one - other).mean())
        if apart <= TOLERANCE:
            return apart
    raise SlipwayError(
        Reason.SMOKE_MISMATCH, f"The service answers differently from the model: {where} is another {expected['media_type']}."
    )


def samples(media_type: str, data: bytes) -> Any:
    """Return the samples of a PNG or WAV file as float64 from -1 to 1; None for anything else."""
    import numpy

    match media_type:
        case "image/png":
            from PIL import Image

            values = numpy.asarray(Image.open(io.BytesIO(data)))
        case "audio/wav":
            with wave.open(io.BytesIO(data)) as sound:
                if sound.getsampwidth() != 2:
                    return None
                values = numpy.frombuffer(sound.readframes(sound.getnframes()), "<i2")
        case _:
            return None
    return values.astype("float64") / numpy.iinfo(values.dtype).max if values.dtype.kind in "iu" else values.astype("float64")


def text_list(value: object) -> list[str]:
    """Return the texts of a list; none where it is no list, as an older package has none."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether this is a number of JSON; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


STEP = Step("smoke", "Boot the package and compare its answer with the model's own.", SmokeInputs, SmokeOutputs, run)

if __name__ == "__main__":
    main(STEP)
