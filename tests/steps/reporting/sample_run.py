"""A run as its steps leave it in a store: records and documents, written through the same doors as theirs."""

from __future__ import annotations

import base64
import struct
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from steps.core.contract import Context
from steps.core.digest import sha256_bytes
from steps.core.documents import BuildPlan, GoldenAnswer, GoldenRequest, ModelFacts, PlannedLayer, RenderedPackage, SmokeResult
from steps.core.lock import Lock, LockedFile
from steps.core.receipts import Failure, Receipt, write_record

BEGAN = datetime(2026, 11, 20, 14, 3, 11, tzinfo=UTC)
SENTENCE = "The harbour of Hamburg was busy when Ada Lovelace arrived, and she liked what she saw."
SOURCE = "https://git.example.org/models/harbour-small"
COMMIT = "8c5f0c2d3a4b59687766554433221100ffeeddcc"
RUN = "harbour-1"

GOLDENS = {
    "text-classification": GoldenRequest(fields={"text": SENTENCE, "top_k": 5}),
    "token-classification": GoldenRequest(fields={"text": SENTENCE, "aggregation": "simple"}),
    "feature-extraction": GoldenRequest(fields={"text": SENTENCE, "pooling": "mean"}),
    "image-classification": GoldenRequest(fields={"top_k": 3}, files={"image": "golden/picture.png"}),
}
ANSWERS: dict[str, dict[str, Any]] = {
    "text-classification": {"labels": [{"label": "POSITIVE", "score": 0.9312}, {"label": "NEGATIVE", "score": 0.0688}]},
    "token-classification": {
        "entities": [
            {"entity": "LOC", "score": 0.9981, "word": "Hamburg", "start": 15, "end": 22},
            {"entity": "PER", "score": 0.9967, "word": "Ada Lovelace", "start": 37, "end": 49},
        ]
    },
    "feature-extraction": {"features": [[((i * 37) % 101 - 50) / 61 for i in range(384)]]},
    "image-classification": {
        "labels": [
            {"label": "yawl", "score": 0.8124},
            {"label": "schooner", "score": 0.1131},
            {"label": "catamaran", "score": 0.0418},
        ]
    },
}


def png(width: int = 96, height: int = 64) -> bytes:
    """A small picture: sea under sky."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(
        b"\0" + (bytes((120 + y, 165 + y, 220)) if y < height * 0.6 else bytes((30, 80 + y // 2, 110))) * width
        for y in range(height)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def lock() -> Lock:
    sizes = {
        "README.md": 4210,
        "config.json": 729,
        "model.safetensors": 267_832_560,
        "special_tokens_map.json": 125,
        "tokenizer.json": 711_396,
        "tokenizer_config.json": 1_278,
        "vocab.txt": 231_508,
    }
    files = [LockedFile(path=path, size=size, sha256=sha256_bytes(path.encode())) for path, size in sizes.items()]
    return Lock.from_files(files, source_kind="git_lfs", source=SOURCE, revision=COMMIT)


def facts(services: list[str], **changes: Any) -> ModelFacts:
    values: dict[str, Any] = {
        "framework": "transformers",
        "architecture": "DistilBertForSequenceClassification",
        "model_type": "distilbert",
        "parameters": 66_955_010,
        "dtypes": {"F32": 66_955_010},
        "labels": 2,
        "licence": "apache-2.0",
        "versions": {"transformers": "5.23.0", "torch": "2.13.0", "safetensors": "0.8.0"},
        "load_seconds": 2.412,
        "peak_rss_bytes": 912_300_000,
        "expected": {
            name: GoldenAnswer(task=name, golden=GOLDENS[name], answer=ANSWERS[name], seconds=0.041) for name in services
        },
    }
    return ModelFacts(**{**values, **changes})


def rendered(service: str) -> RenderedPackage:
    files = {
        "README.md": "# A service that Slipway packaged\n",
        "bento.yaml": f"service: service:Service\nname: harbour-{service}\n",
        "env/docker/Dockerfile": "ARG BASE_IMAGE=python:3.11-slim-bookworm\nFROM ${BASE_IMAGE}\n",
        "src/golden/request.json": "{}\n",
        "src/service.py": 'import bentoml\n\n\n@bentoml.service(name="service")\nclass Service:\n    ...\n',
    }
    binaries = {"src/golden/picture.png": base64.b64encode(png()).decode()} if service.startswith("image") else {}
    return RenderedPackage(task=service, bento=f"harbour-{service}:3f2a9c01d4e5b677", files=files, binaries=binaries)


def plan(service: str, **changes: Any) -> BuildPlan:
    prefix = f"contexts/harbour-{service}-3f2a9c01"
    values: dict[str, Any] = {
        "builder": "plan",
        "image": f"registry.example.org/models/harbour-{service}:3f2a9c01d4e5b677",
        "base_image": "python:3.11-slim-bookworm",
        "context": prefix,
        "dockerfile": "env/docker/Dockerfile",
        "commands": [
            f"tar -xzf harbour-{service}-3f2a9c01.tar.gz -C context",
            "docker build -f context/env/docker/Dockerfile -t harbour context",
        ],
        "layers": [
            PlannedLayer(instruction="FROM python:3.11-slim-bookworm", purpose="Debian and Python", bytes=0),
            PlannedLayer(instruction="COPY env/python/requirements.txt", purpose="the locked requirements", bytes=48_211),
            PlannedLayer(instruction="RUN python -m pip install", purpose="torch, transformers, BentoML", bytes=0),
            PlannedLayer(instruction="COPY src/model", purpose="the weights", bytes=268_781_806),
            PlannedLayer(instruction="COPY src/service.py src/serving", purpose="the code", bytes=9_311),
        ],
        "image_digest": "",
    }
    return BuildPlan(**{**values, **changes})


def openapi(service: str) -> dict[str, Any]:
    """What BentoML 1.4 says of such a service at /docs.json, without the paths that all services have."""
    if service.startswith("image"):
        media_type = "multipart/form-data"
        properties: dict[str, Any] = {
            "image": {"format": "binary", "title": "Image", "type": "string", "description": "the picture: JPEG, PNG or WebP"},
            "top_k": {"default": 5, "minimum": 1, "maximum": 1000, "type": "integer", "description": "classes to return"},
        }
    else:
        media_type = "application/json"
        properties = {
            "text": {"type": "string", "minLength": 1, "maxLength": 100000, "description": "the text"},
            "top_k": {"default": 5, "minimum": 1, "maximum": 1000, "type": "integer", "description": "classes to return"},
        }
    required = [next(iter(properties))]
    labels = {"description": "the best classes, best first", "items": {"$ref": "#/components/schemas/Label"}, "type": "array"}
    answer = {"type": "object", "required": ["labels"], "properties": {"labels": labels}}
    label = {
        "type": "object",
        "required": ["label", "score"],
        "properties": {
            "label": {"type": "string", "description": "the class's name, from the model's id2label"},
            "score": {"type": "number"},
        },
    }
    return {
        "openapi": "3.0.2",
        "info": {"title": service, "description": "[![badge](https://img.example.org/x.png)](https://example.org)"},
        "paths": {
            "/predict": {
                "post": {
                    "requestBody": {"content": {media_type: {"schema": {"$ref": "#/components/schemas/predict__Input"}}}},
                    "responses": {"200": {"content": {"application/json": {"schema": answer}}}},
                }
            }
        },
        "components": {
            "schemas": {
                "Label": label,
                "predict__Input": {"type": "object", "required": required, "properties": properties},
            }
        },
    }


def smoke(service: str, **changes: Any) -> SmokeResult:
    values: dict[str, Any] = {
        "task": service,
        "boot_seconds": 6.81,
        "latency_seconds": [0.212, *(0.031 + 0.004 * ((i * 7) % 5) for i in range(19))],
        "rss_bytes": 861_200_000,
        "golden": GOLDENS[service],
        "answer": ANSWERS[service],
        "largest_difference": 2.4e-7,
        "openapi": openapi(service),
    }
    return SmokeResult(**{**values, **changes})


class SampleRun:
    """Writes a run step by step; each step begins when the one before it ended, plus ``pause`` seconds."""

    def __init__(self, context: Context, services: list[str], run: str = RUN) -> None:
        self.context, self.services, self.run = context, services, run
        self.now = BEGAN
        self.asked = {
            "source_kind": "git_lfs",
            "source": SOURCE,
            "revision": COMMIT,
            "exclude": ["onnx/*"],
            "services": services,
        }

    def step(self, name: str, service: str = "", *, seconds: float = 1.0, inputs: Any = None, outputs: Any = None) -> None:
        self._record(name, service, seconds, inputs or {}, outputs or {}, None)

    def fail(self, name: str, failure: Failure, service: str = "", *, seconds: float = 1.0) -> None:
        self._record(name, service, seconds, self.asked if name == "fetch" else {}, {}, failure)

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def _record(self, name: str, service: str, seconds: float, inputs: Any, outputs: Any, failure: Failure | None) -> None:
        receipt = Receipt(
            step=name,
            service=service,
            inputs={**inputs, **({"service": service} if service else {})},
            outputs=outputs,
            started=self.now.isoformat(timespec="milliseconds"),
            seconds=seconds,
            cpu_seconds=round(seconds * 0.8, 3),
            failure=failure,
        )
        write_record(self.context, self.run, receipt)
        self.now += timedelta(seconds=seconds + 0.2)

    def fetch(self) -> None:
        found = lock()
        self.step(
            "fetch",
            seconds=9.4,
            inputs=self.asked,
            outputs={
                "lock": self.context.publish_document("locks", found),
                "set_digest": found.set_digest,
                "revision": COMMIT,
                "files": len(found.files),
                "bytes": found.size,
                "left_files": 6,
                "left_bytes": 804_110_332,
            },
        )

    def load(self, document: ModelFacts | None = None) -> None:
        key = self.context.publish_document("facts", document or facts(self.services))
        self.step("load", seconds=6.2, inputs={"services": self.services}, outputs={"facts": key})

    def render(self, service: str) -> None:
        key = self.context.publish_document("renders", rendered(service))
        self.step("render", service, seconds=0.31, inputs={"name": "harbour"}, outputs={"render": key})

    def archive(self, service: str) -> None:
        outputs = {
            "archive": f"archives/harbour-{service}-3f2a9c01d4e5b677.tar.gz",
            "archive_digest": sha256_bytes(service.encode()),
            "archive_bytes": 268_551_937,
        }
        self.step("archive", service, seconds=3.9, inputs={"name": "harbour"}, outputs=outputs)

    def build(self, service: str, document: BuildPlan | None = None) -> None:
        made = document or plan(service)
        key = self.context.publish_document("plans", made)
        outputs = {"plan": key, "image": made.image, "image_digest": made.image_digest}
        self.step("build", service, seconds=1.2, outputs=outputs)

    def smoke(self, service: str, document: SmokeResult | None = None) -> None:
        key = self.context.publish_document("smokes", document or smoke(service))
        self.step("smoke", service, seconds=11.5, outputs={"smoke": key, "boot_seconds": "6.81"})

    def all(self) -> SampleRun:
        self.fetch()
        self.load()
        for service in self.services:
            self.render(service)
            self.archive(service)
            self.build(service)
            self.smoke(service)
        return self
