"""The documents that steps write to the store for each other, each named by its digest.

With the lock (``steps.core.lock``) they are all that later steps and the report know about a model.
"""

from __future__ import annotations

from pydantic import Field

from steps.core.contract import Document

# What JSON holds (RFC 8259); pydantic checks nothing inside it.
JsonObject = dict[str, object]


class GoldenRequest(Document):
    """One request that a task's service must answer.

    Attributes:
        fields: The JSON fields of the request.
        files: For each field that is a file, its path within the package (``golden/…``).
    """

    fields: JsonObject = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)


class GoldenAnswer(Document):
    """What the model itself answered to a task's golden request when the load step opened it."""

    task: str
    golden: GoldenRequest
    answer: JsonObject
    seconds: float = Field(description="time of the answer in seconds, without loading the model")


class ModelFacts(Document):
    """What the load step found out about a model. Stored under ``facts/``."""

    framework: str
    architecture: str = Field(description="class name from config.json")
    model_type: str
    parameters: int
    dtypes: dict[str, int] = Field(description="elements of each dtype in the weight files, as safetensors names them")
    labels: int = Field(description="entries of id2label; 0 where the labels have no meaning of their own")
    licence: str = Field(description="from the model card's front matter; empty where it is not stated")
    versions: dict[str, str] = Field(description="of the libraries that loaded it")
    load_seconds: float
    peak_rss_bytes: int = Field(description="highest resident memory of the loading process")
    walls: list[str] = Field(default_factory=list, description="what kept the library from opening other files")
    expected: dict[str, GoldenAnswer] = Field(description="by task")


class RenderedPackage(Document):
    """The generated and copied files of a package, by their paths in it. Stored under ``renders/``."""

    task: str
    bento: str = Field(description="the Bento's tag, name:version")
    files: dict[str, str]
    binaries: dict[str, str] = Field(description="files that are not text, in base64")


class PlannedLayer(Document):
    """One layer of a planned image: the instruction, its purpose, and the bytes that it takes from the build context."""

    instruction: str
    purpose: str
    bytes: int


class BuildPlan(Document):
    """What a build makes, or would make. Stored under ``plans/``."""

    builder: str
    image: str = Field(description="name and tag")
    registry: str = Field("", description="where it is pushed, or would be; empty: it is not pushed")
    base_image: str
    labels: dict[str, str] = Field(default_factory=dict, description="labels that are not in the Dockerfile")
    context: str = Field(description="store prefix under which the complete build context lies")
    dockerfile: str = Field(description="path in the context")
    commands: list[str] = Field(description="command lines that build it by hand")
    layers: list[PlannedLayer]
    image_digest: str = Field(description="sha256:… of the image; empty where it was only planned")


class SmokeResult(Document):
    """How the packaged service behaved when it was started and called. Stored under ``smokes/``."""

    task: str
    boot_seconds: float
    latency_seconds: list[float] = Field(description="one entry for each request, in order; the first one is cold")
    rss_bytes: int = Field(description="resident memory of the service's processes after the requests")
    golden: GoldenRequest
    answer: JsonObject
    largest_difference: float = Field(
        description="largest absolute difference between a number here and in the loader's answer"
    )
    walls: list[str] = Field(default_factory=list, description="what kept the service from opening other files")
    openapi: JsonObject = Field(description="the OpenAPI document of the service, from /docs.json")
