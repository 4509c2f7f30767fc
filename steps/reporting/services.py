"""One service of a run: what it was asked and answered, how fast, its API, its archive and its image."""

from __future__ import annotations

import base64
import binascii
import json
import shlex
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steps.documents import BuildPlan, Facts, Golden, Rendered, Smoke
from steps.progress import human_bytes
from steps.receipts import Receipt
from steps.reporting.answers import Part, parts
from steps.reporting.documents import Documents, text_of
from steps.reporting.openapi import Schema, request_schema, response_schema
from steps.reporting.verdict import BRANCH, branch_state
from steps.reporting.words import Mark, duration, latency, marks, shown
from steps.tasks import TASKS

PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
MAX_PICTURE = 2_000_000  # bytes; the report stays a file that can be mailed
MAX_FILE_TEXT = 20_000  # characters of a package's file
MAX_LATENCIES = 60


@dataclass(frozen=True)
class Fact:
    """A name and a value; ``note`` says more in small."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Picture:
    name: str
    data_uri: str


@dataclass(frozen=True)
class Exchange:
    """The golden request and its answer: that of the packaged service, or of the model when it was loaded."""

    request: list[Fact]
    pictures: list[Picture]
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
    latencies: list[Mark]
    request_schema: Schema | None
    response_schema: Schema | None
    archive: Archive | None
    image: Image | None
    plan: BuildPlan | None
    package: list[PackageFile]
    lacking: list[str]


def service_view(
    name: str, number: int, branch: Mapping[str, Receipt], facts: Facts | None, documents: Documents
) -> ServiceView:
    """A service from the records of its branch, by step name."""
    outputs: dict[str, dict[str, Any]] = {step: branch[step].outputs if step in branch else {} for step in BRANCH}
    rendered = documents.read(outputs["render"].get("render"), Rendered)
    plan = documents.read(outputs["build"].get("plan"), BuildPlan)
    smoke = documents.read(outputs["smoke"].get("smoke"), Smoke)
    found = (("package", "render", rendered), ("build plan", "build", plan), ("smoke test", "smoke", smoke))
    tone, state = branch_state(branch)
    task = TASKS.get(name)
    return ServiceView(
        name=shown(name, 80),
        title=task.title if task else "",
        anchor=f"service-{number}",
        tone=tone,
        state=state,
        exchange=_exchange(name, smoke, facts, rendered),
        measured=_measured(smoke) if smoke else [],
        latencies=marks(smoke.latency_seconds[:MAX_LATENCIES]) if smoke and len(smoke.latency_seconds) > 1 else [],
        request_schema=request_schema(smoke.openapi) if smoke else None,
        response_schema=response_schema(smoke.openapi) if smoke else None,
        archive=_archive(outputs["archive"], rendered),
        image=_image(plan) if plan else None,
        plan=plan,
        package=_package(rendered) if rendered else [],
        lacking=[what for what, step, document in found if outputs[step] and document is None],
    )


def _exchange(name: str, smoke: Smoke | None, facts: Facts | None, rendered: Rendered | None) -> Exchange | None:
    expected = facts.expected.get(name) if facts else None
    told = smoke or expected
    if told is None:
        return None
    golden = told.golden
    return Exchange(
        request=[
            Fact(shown(field, 60), shown(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 1000))
            for field, value in golden.fields.items()
        ],
        pictures=_pictures(golden, rendered.binaries if rendered else {}),
        answer=parts(told.answer, golden.fields),
        packaged=smoke is not None,
        curl=_curl(golden, rendered.binaries if rendered else {}),
    )


def _pictures(golden: Golden, binaries: Mapping[str, str]) -> list[Picture]:
    found = []
    for field, path in golden.files.items():
        content = next((content for where, content in binaries.items() if where.endswith(path)), "")
        found.append(Picture(shown(field, 60), _data_uri(content)))
    return found


def _data_uri(content: str) -> str:
    """The picture in a form that a page can hold in itself; empty for anything but a small bitmap."""
    try:
        data = base64.b64decode(content, validate=True)
    except binascii.Error:
        return ""
    media_type = next((name for magic, name in PICTURES.items() if data.startswith(magic)), None)
    if media_type is None or len(data) > MAX_PICTURE:
        return ""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _curl(golden: Golden, binaries: Mapping[str, str]) -> str:
    """The golden request for a shell, in the folder of the unpacked archive."""
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
        options.append(f"--form-string {shlex.quote(f'{field}={json.dumps(value, ensure_ascii=False)}')}")
    return " \\\n  ".join([f"curl {address}", *options])


def _measured(smoke: Smoke) -> list[Fact]:
    if smoke.largest_difference == 0:
        result = [Fact("Against the loader", "equal", "the same answer to the last digit")]
    else:
        result = [Fact("Against the loader", f"{smoke.largest_difference:.1e}", "the largest difference between two numbers")]
    cold, *warm = smoke.latency_seconds or [0.0]
    if warm:
        result.append(
            Fact(
                "Latency",
                latency(statistics.median(warm)),
                f"median of {len(warm)}; slowest {latency(max(warm))}, first {latency(cold)}",
            )
        )
    elif smoke.latency_seconds:
        result.append(Fact("Latency", latency(cold), "one request, cold"))
    result.append(Fact("Memory", human_bytes(smoke.rss_bytes), "resident, after the requests"))
    result.append(Fact("Boot", duration(smoke.boot_seconds), "from the start to ready"))
    return result


def _archive(outputs: Mapping[str, Any], rendered: Rendered | None) -> Archive | None:
    key = text_of(outputs, "archive")
    if not key:
        return None
    size = outputs.get("archive_bytes")
    size = size if isinstance(size, int) else 0
    commands = [f"bentoml import {shlex.quote(key.rpartition('/')[2])}"]
    if rendered:
        commands.append(f"bentoml serve {shlex.quote(rendered.bento)} --port 3000")
    return Archive(
        shown(key, 400),
        shown(text_of(outputs, "archive_digest"), 80),
        size,
        human_bytes(size),
        shown("\n".join(commands), 1000),
    )


def _image(plan: BuildPlan) -> Image:
    digest = shown(plan.image_digest, 120)
    return Image(
        digest=digest,
        facts=[
            Fact("Name", shown(plan.image, 300)),
            *([Fact("Digest", digest)] if digest else []),
            Fact("Builder", shown(plan.builder, 60)),
            Fact("Base image", shown(plan.base_image, 200)),
            Fact("Build context", shown(plan.context, 300)),
            Fact("Dockerfile", shown(plan.dockerfile, 200)),
        ],
        layers=[
            ImageLayer(
                shown(layer.instruction, 200),
                shown(layer.purpose, 200),
                human_bytes(layer.bytes) if layer.bytes else "–",
            )
            for layer in plan.layers[:60]
        ],
        commands=shown("\n".join(plan.commands), 6000),
    )


def _package(rendered: Rendered) -> list[PackageFile]:
    files = [
        PackageFile(shown(path, 240), human_bytes(len(text.encode())), shown(text, MAX_FILE_TEXT))
        for path, text in rendered.files.items()
    ]
    files += [
        PackageFile(shown(path, 240), human_bytes(len(content) * 3 // 4), "") for path, content in rendered.binaries.items()
    ]
    return sorted(files, key=lambda file: file.path)
