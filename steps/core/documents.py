"""The documents that steps leave for each other in the store, each under its own digest.

They are data for the next step, the report and whoever looks: no code reads anything else about a model than its lock and
these.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from steps.core.contract import Document


class GoldenRequest(Document):
    """One request that a task's service must answer: JSON fields, and files by field name (paths within the package)."""

    fields: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


class GoldenAnswer(Document):
    """What the model itself answered to a task's golden request when it was loaded."""

    task: str
    golden: GoldenRequest
    answer: dict[str, Any]
    seconds: float = Field(description="time of one answer, the model being loaded")


class ModelFacts(Document):
    """What loading found out about a model. Kept under ``facts/``."""

    framework: str
    architecture: str = Field(description="class name from config.json")
    model_type: str
    parameters: int
    dtypes: dict[str, int] = Field(description="elements of each dtype in the weight files, as safetensors names them")
    labels: int = Field(description="entries of id2label; 0 where the head has none that mean something")
    licence: str = Field(description="from the model card's front matter; empty where it does not say")
    versions: dict[str, str] = Field(description="of the libraries that loaded it")
    load_seconds: float
    peak_rss_bytes: int = Field(description="highest resident memory of the loading process")
    expected: dict[str, GoldenAnswer] = Field(description="by task")


class RenderedPackage(Document):
    """A package's generated and copied text files, by their path in it. Kept under ``renders/``."""

    task: str
    bento: str = Field(description="the Bento's tag, name:version")
    files: dict[str, str]
    binaries: dict[str, str] = Field(description="files that are no text, in base64")


class PlannedLayer(Document):
    """One part of the image to be: what makes it, and how many bytes go in from the build context (0: from elsewhere)."""

    instruction: str
    purpose: str
    bytes: int


class BuildPlan(Document):
    """What a build makes, or would make. Kept under ``plans/``."""

    builder: str
    image: str = Field(description="name and tag")
    registry: str = Field("", description="where it is, or would be, pushed; empty: nowhere")
    base_image: str
    labels: dict[str, str] = Field(default_factory=dict, description="those that are no part of the Dockerfile")
    context: str = Field(description="store prefix under which the complete build context lies")
    dockerfile: str = Field(description="path in the context")
    commands: list[str] = Field(description="what to type to build it by hand")
    layers: list[PlannedLayer]
    image_digest: str = Field(description="sha256:… of the image; empty where none was built")


class SmokeResult(Document):
    """How the packaged service behaved when it was booted and asked. Kept under ``smokes/``."""

    task: str
    boot_seconds: float
    latency_seconds: list[float] = Field(description="one entry a request, in order, the first one cold")
    rss_bytes: int = Field(description="resident memory of the service's processes after the requests")
    golden: GoldenRequest
    answer: dict[str, Any]
    largest_difference: float = Field(description="between a number here and the loader's, absolute")
    openapi: dict[str, Any] = Field(description="what the service says of itself at /docs.json")
