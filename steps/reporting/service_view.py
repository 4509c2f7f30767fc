"""One service of a run: its golden request and answer, measurements, API, archive and image."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from steps.core.documents import BuildPlan, GoldenRequest, ModelFacts, RenderedPackage, SmokeResult
from steps.core.text import ChartBar, chart_bars, display_text, format_bytes, format_duration, format_latency
from steps.package.local_service import form_value
from steps.reporting.answer_fields import AnswerField, answer_fields
from steps.reporting.document_reader import DocumentReader, int_field, text_field
from steps.reporting.media_files import MediaFile, media_file
from steps.reporting.openapi_tables import ApiTable, request_table, response_table
from steps.reporting.service_records import LATER_STEPS, SERVICE_STEPS, Records, service_state
from steps.tasks.table import TASKS

MAX_FILE_TEXT = 20_000  # characters of a package's file
MAX_LATENCIES = 60


@dataclass(frozen=True)
class NamedValue:
    """A name and a value; ``note`` says more in small print."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Example:
    """The golden request and its answer.

    Attributes:
        request: The fields of the request.
        files: Its files.
        answer: The fields of the answer.
        is_packaged: Whether the packaged service gave the answer, not the model when it was loaded.
        curl: The request as a shell command.
    """

    request: list[NamedValue]
    files: list[MediaFile]
    answer: list[AnswerField]
    is_packaged: bool
    curl: str


@dataclass(frozen=True)
class PackageFile:
    """A file of the package beside the weights; ``text`` is empty for a binary one."""

    path: str
    size: str
    text: str


@dataclass(frozen=True)
class ImageLayer:
    """A layer of the image: what makes it, what for, and how much comes from the build context."""

    instruction: str
    purpose: str
    size: str


@dataclass(frozen=True)
class Image:
    """The image, or the plan of one where ``digest`` is empty; ``commands`` build it by hand."""

    digest: str
    facts: list[NamedValue]
    layers: list[ImageLayer]
    commands: str


@dataclass(frozen=True)
class Archive:
    """The archive of the package; ``commands`` start a service from it."""

    key: str
    digest: str
    bytes: int
    size: str
    commands: str


@dataclass(frozen=True)
class ServiceView:
    """What the page shows of a service; None or empty for what its steps have not produced.

    Attributes:
        name: The task.
        title: What it does, in words.
        anchor: The id of its part of the page.
        tone: How its state is drawn: see ``outcome.Outcome``.
        state: How far it has come.
        example: The golden request and its answer.
        measurements: What the smoke test measured.
        latencies: Of its requests, drawn.
        request_table: The fields of a request.
        response_table: The fields of a response.
        archive: The archive.
        image: The image.
        plan: The document behind it, for the chart of sizes.
        package: The package's files beside the weights.
        unavailable: The documents that could not be read.
    """

    name: str
    title: str
    anchor: str
    tone: str
    state: str
    example: Example | None
    measurements: list[NamedValue]
    latencies: list[ChartBar]
    request_table: ApiTable | None
    response_table: ApiTable | None
    archive: Archive | None
    image: Image | None
    plan: BuildPlan | None
    package: list[PackageFile]
    unavailable: list[str]


def service_view(name: str, number: int, records: Records, facts: ModelFacts | None, documents: DocumentReader) -> ServiceView:
    """Return the view of a service.

    Args:
        name: The task.
        number: The service's place among those of the run, from 1.
        records: Of its steps.
        facts: What the load step found out, where that is known.
        documents: Reads what the records name.
    """
    outputs: dict[str, Mapping[str, object]] = {
        step: records[step].outputs if step in records else {} for step in SERVICE_STEPS
    }
    later = (records[step] for step in LATER_STEPS if step in records and not records[step].failure)
    planned = next((record.outputs for record in later), outputs["build"])
    rendered = documents.read(outputs["render"].get("render"), RenderedPackage)
    plan = documents.read(planned.get("plan"), BuildPlan)
    smoke = documents.read(outputs["smoke"].get("smoke"), SmokeResult)
    found = (("package", "render", rendered), ("build plan", "build", plan), ("smoke test", "smoke", smoke))
    tone, state = service_state(records)
    task = TASKS.get(name)
    return ServiceView(
        name=display_text(name, 80),
        title=task.title if task else "",
        anchor=f"service-{number}",
        tone=tone,
        state=state,
        example=_example(name, smoke, facts, rendered),
        measurements=_measurements(smoke) if smoke else [],
        latencies=chart_bars(smoke.latency_seconds[:MAX_LATENCIES]) if smoke and len(smoke.latency_seconds) > 1 else [],
        request_table=request_table(_json_object(smoke.openapi)) if smoke else None,
        response_table=response_table(_json_object(smoke.openapi)) if smoke else None,
        archive=_archive(outputs["archive"], rendered),
        image=_image(plan) if plan else None,
        plan=plan,
        package=_package(rendered) if rendered else [],
        unavailable=[what for what, step, document in found if outputs[step] and document is None],
    )


def _example(
    name: str, smoke: SmokeResult | None, facts: ModelFacts | None, rendered: RenderedPackage | None
) -> Example | None:
    expected = facts.expected.get(name) if facts else None
    source = smoke or expected
    if source is None:
        return None
    golden = source.golden
    return Example(
        request=[
            NamedValue(
                display_text(field, 60),
                display_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 1000),
            )
            for field, value in golden.fields.items()
        ],
        files=[media_file(field, _content(path, rendered)) for field, path in golden.files.items()],
        answer=answer_fields(_json_object(source.answer), _json_object(golden.fields)),
        is_packaged=smoke is not None,
        curl=curl(golden, rendered.binaries if rendered else ()),
    )


def _json_object(value: Mapping[str, object]) -> Mapping[str, JsonValue]:
    return cast(Mapping[str, JsonValue], value)  # it was read from JSON


def _content(path: str, rendered: RenderedPackage | None) -> str:
    """A golden file as the package holds it, in base64."""
    binaries = rendered.binaries if rendered else {}
    return next((content for where, content in binaries.items() if where.endswith(path)), "")


def curl(golden: GoldenRequest, binaries: Iterable[str]) -> str:
    """Return the golden request as a shell command for the folder of the unpacked archive; ``binaries`` are paths there."""
    address = "http://127.0.0.1:3000/predict"
    if not golden.files:
        body = json.dumps(golden.fields, ensure_ascii=False)
        return f"curl {address} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(body)}"
    options = []
    for field, path in golden.files.items():
        where = next((where for where in binaries if where.endswith(path)), path)
        options.append(f"-F {shlex.quote(f'{field}=@{where}')}")
    for field, value in golden.fields.items():
        # --form-string: curl reads no file for a value that begins with @ or <.
        options.append(f"--form-string {shlex.quote(f'{field}={form_value(value)}')}")
    return " \\\n  ".join([f"curl {address}", *options])


def _measurements(smoke: SmokeResult) -> list[NamedValue]:
    if smoke.largest_difference == 0:
        value, note = "none", "the same answer to the last digit"
    else:
        value, note = f"{smoke.largest_difference:.1e}", "the largest one between two numbers"
    result = [NamedValue("Difference from the loaded model", value, note)]
    cold, *warm = smoke.latency_seconds or [0.0]
    if warm:
        result.append(
            NamedValue(
                "Latency",
                format_latency(statistics.median(warm)),
                f"median of {len(warm)}; slowest {format_latency(max(warm))}, first {format_latency(cold)}",
            )
        )
    elif smoke.latency_seconds:
        result.append(NamedValue("Latency", format_latency(cold), "one request, cold"))
    result.append(NamedValue("Memory", format_bytes(smoke.rss_bytes), "resident, after the requests"))
    result.append(NamedValue("Walls", display_text(", ".join(smoke.walls), 120) or "none", "around the running service"))
    result.append(NamedValue("Start-up", format_duration(smoke.boot_seconds), "from start to ready"))
    return result


def _archive(outputs: Mapping[str, object], rendered: RenderedPackage | None) -> Archive | None:
    key = text_field(outputs, "archive")
    if not key:
        return None
    size = int_field(outputs, "archive_bytes")
    commands = [f"bentoml import {shlex.quote(key.rpartition('/')[2])}"]
    if rendered:
        commands.append(f"bentoml serve {shlex.quote(rendered.bento)} --port 3000")
    return Archive(
        display_text(key, 400),
        display_text(text_field(outputs, "archive_digest"), 80),
        size,
        format_bytes(size),
        display_text("\n".join(commands), 1000),
    )


def _image(plan: BuildPlan) -> Image:
    digest = display_text(plan.image_digest, 120)
    return Image(
        digest=digest,
        facts=[
            NamedValue("Name", display_text(plan.image, 300)),
            *([NamedValue("Digest", digest)] if digest else []),
            NamedValue("Builder", display_text(plan.builder, 60)),
            NamedValue("Base image", display_text(plan.base_image, 200)),
            NamedValue("Build context", display_text(plan.context, 300)),
            NamedValue("Dockerfile", display_text(plan.dockerfile, 200)),
        ],
        layers=[
            ImageLayer(
                display_text(layer.instruction, 200),
                display_text(layer.purpose, 200),
                format_bytes(layer.bytes) if layer.bytes else "–",
            )
            for layer in plan.layers[:60]
        ],
        commands=display_text("\n".join(plan.commands), 6000),
    )


def _package(rendered: RenderedPackage) -> list[PackageFile]:
    files = [
        PackageFile(display_text(path, 240), format_bytes(len(text.encode())), display_text(text, MAX_FILE_TEXT))
        for path, text in rendered.files.items()
    ]
    files += [
        PackageFile(display_text(path, 240), format_bytes(len(content) * 3 // 4), "")
        for path, content in rendered.binaries.items()
    ]
    return sorted(files, key=lambda file: file.path)
