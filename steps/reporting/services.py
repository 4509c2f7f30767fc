"""One service of a run: what it was asked and answered, how fast, its API, its archive and its image."""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from steps.core.documents import BuildPlan, GoldenRequest, ModelFacts, RenderedPackage, SmokeResult
from steps.core.receipts import Receipt
from steps.core.text import ChartBar, chart_bars, display_text, format_bytes, format_duration, format_latency
from steps.package.local_service import form_value
from steps.reporting.answers import Part, parts
from steps.reporting.documents import Documents, text_of
from steps.reporting.media import Medium, medium
from steps.reporting.openapi import Schema, request_schema, response_schema
from steps.reporting.verdict import BRANCH, CLOUDBUILD, branch_state
from steps.tasks.table import TASKS

MAX_FILE_TEXT = 20_000  # characters of a package's file
MAX_LATENCIES = 60


@dataclass(frozen=True)
class Fact:
    """A name and a value; ``note`` says more in small."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Exchange:
    """The golden request and its answer: that of the packaged service, or of the model when it was loaded."""

    request: list[Fact]
    files: list[Medium]
    answer: list[Part]
    packaged: bool
    curl: str


@dataclass(frozen=True)
class PackageFile:
    path: str
    size: str
    text: str


@dataclass(frozen=True)
class ImageLayer:
    instruction: str
    purpose: str
    size: str


@dataclass(frozen=True)
class Image:
    digest: str
    facts: list[Fact]
    layers: list[ImageLayer]
    commands: str


@dataclass(frozen=True)
class Archive:
    key: str
    digest: str
    bytes: int
    size: str
    commands: str


@dataclass(frozen=True)
class ServiceView:
    """What the page shows of a service; None or empty for what its steps have not come to."""

    name: str
    title: str
    anchor: str
    tone: str
    state: str
    exchange: Exchange | None
    measured: list[Fact]
    latencies: list[ChartBar]
    request_schema: Schema | None
    response_schema: Schema | None
    archive: Archive | None
    image: Image | None
    plan: BuildPlan | None
    package: list[PackageFile]
    lacking: list[str]


def service_view(
    name: str, number: int, branch: Mapping[str, Receipt], facts: ModelFacts | None, documents: Documents
) -> ServiceView:
    """A service from the records of its branch, by step name."""
    outputs: dict[str, dict[str, Any]] = {step: branch[step].outputs if step in branch else {} for step in BRANCH}
    planned = branch[CLOUDBUILD].outputs if CLOUDBUILD in branch and not branch[CLOUDBUILD].failure else outputs["build"]
    rendered = documents.read(outputs["render"].get("render"), RenderedPackage)
    plan = documents.read(planned.get("plan"), BuildPlan)
    smoke = documents.read(outputs["smoke"].get("smoke"), SmokeResult)
    found = (("package", "render", rendered), ("build plan", "build", plan), ("smoke test", "smoke", smoke))
    tone, state = branch_state(branch)
    task = TASKS.get(name)
    return ServiceView(
        name=display_text(name, 80),
        title=task.title if task else "",
        anchor=f"service-{number}",
        tone=tone,
        state=state,
        exchange=_exchange(name, smoke, facts, rendered),
        measured=_measured(smoke) if smoke else [],
        latencies=chart_bars(smoke.latency_seconds[:MAX_LATENCIES]) if smoke and len(smoke.latency_seconds) > 1 else [],
        request_schema=request_schema(smoke.openapi) if smoke else None,
        response_schema=response_schema(smoke.openapi) if smoke else None,
        archive=_archive(outputs["archive"], rendered),
        image=_image(plan) if plan else None,
        plan=plan,
        package=_package(rendered) if rendered else [],
        lacking=[what for what, step, document in found if outputs[step] and document is None],
    )


def _exchange(
    name: str, smoke: SmokeResult | None, facts: ModelFacts | None, rendered: RenderedPackage | None
) -> Exchange | None:
    expected = facts.expected.get(name) if facts else None
    told = smoke or expected
    if told is None:
        return None
    golden = told.golden
    return Exchange(
        request=[
            Fact(
                display_text(field, 60),
                display_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 1000),
            )
            for field, value in golden.fields.items()
        ],
        files=[medium(field, _content(path, rendered)) for field, path in golden.files.items()],
        answer=parts(told.answer, golden.fields),
        packaged=smoke is not None,
        curl=curl(golden, rendered.binaries if rendered else ()),
    )


def _content(path: str, rendered: RenderedPackage | None) -> str:
    """A golden file as the package holds it, in base64."""
    binaries = rendered.binaries if rendered else {}
    return next((content for where, content in binaries.items() if where.endswith(path)), "")


def curl(golden: GoldenRequest, binaries: Iterable[str]) -> str:
    """The golden request for a shell, in the folder of the unpacked archive; ``binaries`` are paths there."""
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


def _measured(smoke: SmokeResult) -> list[Fact]:
    if smoke.largest_difference == 0:
        result = [Fact("Against the loader", "equal", "the same answer to the last digit")]
    else:
        result = [Fact("Against the loader", f"{smoke.largest_difference:.1e}", "the largest difference between two numbers")]
    cold, *warm = smoke.latency_seconds or [0.0]
    if warm:
        result.append(
            Fact(
                "Latency",
                format_latency(statistics.median(warm)),
                f"median of {len(warm)}; slowest {format_latency(max(warm))}, first {format_latency(cold)}",
            )
        )
    elif smoke.latency_seconds:
        result.append(Fact("Latency", format_latency(cold), "one request, cold"))
    result.append(Fact("Memory", format_bytes(smoke.rss_bytes), "resident, after the requests"))
    result.append(Fact("Boot", format_duration(smoke.boot_seconds), "from the start to ready"))
    return result


def _archive(outputs: Mapping[str, Any], rendered: RenderedPackage | None) -> Archive | None:
    key = text_of(outputs, "archive")
    if not key:
        return None
    size = outputs.get("archive_bytes")
    size = size if isinstance(size, int) else 0
    commands = [f"bentoml import {shlex.quote(key.rpartition('/')[2])}"]
    if rendered:
        commands.append(f"bentoml serve {shlex.quote(rendered.bento)} --port 3000")
    return Archive(
        display_text(key, 400),
        display_text(text_of(outputs, "archive_digest"), 80),
        size,
        format_bytes(size),
        display_text("\n".join(commands), 1000),
    )


def _image(plan: BuildPlan) -> Image:
    digest = display_text(plan.image_digest, 120)
    return Image(
        digest=digest,
        facts=[
            Fact("Name", display_text(plan.image, 300)),
            *([Fact("Digest", digest)] if digest else []),
            Fact("Builder", display_text(plan.builder, 60)),
            Fact("Base image", display_text(plan.base_image, 200)),
            Fact("Build context", display_text(plan.context, 300)),
            Fact("Dockerfile", display_text(plan.dockerfile, 200)),
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
