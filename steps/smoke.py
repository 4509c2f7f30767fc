"""smoke: boot the packaged service, ask it the golden request, and compare with what the model itself answered."""

from __future__ import annotations

import base64
import io
import math
import wave
from typing import Any

from pydantic import Field

from steps.command.main import main
from steps.core.contract import Context, Inputs, Outputs, Step
from steps.core.documents import ModelFacts, SmokeResult
from steps.core.errors import Reason, SlipwayError
from steps.core.lock import Sha256
from steps.core.text import format_bytes
from steps.frameworks.libraries import require_libraries
from steps.package.local_service import send_golden_request, serve
from steps.package.unpack import unpack_archive
from steps.tasks.table import resolve

REQUESTS = 6  # the first one is cold; five are enough for a median
# The same weights on the same kind of machine: what differs is the order of sums over threads.
TOLERANCE = 1e-4


class SmokeInputs(Inputs):
    service: str = Field(description="the task that the package serves")
    archive: str = Field(description="store key of the archive")
    archive_digest: Sha256 = Field(description="its sha256")
    facts: str = Field(description="store key of the facts that load wrote")


class SmokeOutputs(Outputs):
    smoke: str = Field(description="store key of what was seen")
    latency_ms: int = Field(description="median of the warm requests, in milliseconds")
    rss_bytes: int = Field(description="memory of the service")


def run(inputs: SmokeInputs, context: Context) -> SmokeOutputs:
    task = resolve(inputs.service)
    require_libraries()
    expected = context.read_document(inputs.facts, ModelFacts).expected.get(task.name)
    if expected is None:
        raise SlipwayError(
            Reason.INVALID_INPUT, f"{inputs.facts} has no golden answer for {task.name}.", hint="Run load for it."
        )
    with context.private_folder() as scratch:
        package = scratch / "package"
        where = context.store.locate(inputs.archive)
        unpack_archive(context.store.read(inputs.archive), package, sha256=inputs.archive_digest, what=where)
        context.progress.note("Booting the packaged service.")
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
                openapi=served.get_object("/docs.json"),
            )
    warm = sorted(smoke.latency_seconds[1:])
    median = round(1000 * warm[len(warm) // 2])
    context.progress.note(f"The service answers as the model does: {median} ms, {format_bytes(smoke.rss_bytes)} of memory.")
    return SmokeOutputs(smoke=context.publish_document("smokes", smoke), latency_ms=median, rss_bytes=smoke.rss_bytes)


def difference(expected: Any, found: Any, where: str = "answer") -> float:
    """The largest difference between numbers at the same place; everything else must be equal.

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


def is_media(value: Any) -> bool:
    """Whether this is a file inside an answer, ``steps.serving.fields.Media`` as JSON."""
    return isinstance(value, dict) and value.keys() == {"media_type", "data"}


def media_difference(expected: dict[str, str], found: dict[str, str], where: str) -> float:
    """How far a picture or a sound is from the one expected, as the mean over its samples; 1 is from black to white.

    Whether a sum falls to this or that side of a rounding is a matter of threads, so single samples may differ.
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
    """The numbers in a PNG or WAV file, from -1 to 1; None for anything else."""
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


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


STEP = Step("smoke", "Boot the package and compare its answer with the model's own.", SmokeInputs, SmokeOutputs, run)

if __name__ == "__main__":
    main(STEP)
