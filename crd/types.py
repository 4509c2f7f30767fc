"""The ``Model`` resource, ``slipway.dev/v1alpha1``: the source of truth for its spec.

The same types read a ``model.yaml`` on a laptop and become the CRD's schema (``crd.schema``): both give every object the same
verdict, so nothing here may depend on where it runs. The fields ``framework``, ``name``, ``services``, ``sourceKind`` and
``source`` are those that Dyff's ``Model`` had; the rest is optional. The descriptions are what ``kubectl explain`` displays.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel

from steps.core.errors import SlipwayError
from steps.core.lock import DIGEST_PATTERN
from steps.core.names import ModelName
from steps.core.redaction import check_no_secret, find_secret
from steps.core.wording import worded
from steps.frameworks.supported import DEFAULT_FRAMEWORK, Framework
from steps.images.builders.supported import BuilderKind
from steps.sources.base import ModelSource
from steps.sources.supported import SourceKind
from steps.tasks.table import AUTO, AUTO_ALONE, MAX_SERVICES, resolve

API_VERSION = "slipway.dev/v1alpha1"
KIND = "Model"
PLURAL = "models"
MAX_PATTERNS = 32

# Patterns are read alike by Python, by Rust (pydantic) and by RE2 (the API server). No text that travels to a Workflow holds a
# brace: Argo replaces {{…}} in it.
REVISION_WITHOUT_COMMITS = "write no revision with sourceKind {kind}: it has the files as they are now, and no commits"
SOURCE_MISSING = "source is required with sourceKind {kind}"

PATTERN_OF_FILES = worded(
    r"^[A-Za-z0-9._*?\[\]!/=+@-]+$", "write a pattern such as *.txt, of letters, digits and . _ * ? [ ] ! / = + @ -"
)
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PATTERN_OF_FILES)]


class _Resource(BaseModel):
    """A part of the resource: field names in camelCase, nothing unknown, null is absent."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: object) -> object:
        """Remove optional fields that are null, as the API server does: ``revision:`` without a value is null in YAML."""
        if not isinstance(value, dict):
            return value
        optional = {field.alias or name for name, field in cls.model_fields.items() if not field.is_required()}
        return {key: item for key, item in value.items() if item is not None or key not in optional}


class Metadata(_Resource):
    """The part of Kubernetes' object metadata that Slipway reads; a manifest may carry labels and annotations besides."""

    name: ModelName
    namespace: str | None = Field(None, max_length=63)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class ModelSpec(_Resource):
    """Desired state: a model, where it comes from, and the services to make from it."""

    framework: Framework = Field(DEFAULT_FRAMEWORK, description="Library that loads the model.")
    name: str = Field(
        "",
        max_length=96,
        pattern=worded(r"^[^\x00-\x1f\x7f-\x9f]*$", "write it without control characters"),
        description="Title of the model, for people.",
    )
    services: tuple[str, ...] = Field(
        min_length=1,
        max_length=MAX_SERVICES,
        description="Hugging Face task names, each a package and an image; or auto alone: all that the model was trained for.",
    )
    source_kind: SourceKind = Field(description="Kind of source that the model is fetched from.")
    source: str = Field(
        "", max_length=2048, description="Address of a repository, a folder, or the prefix in a bucket, as sourceKind requires."
    )
    revision: str = Field(
        "",
        max_length=200,
        pattern=worded(
            r"^([A-Za-z0-9_][A-Za-z0-9._/+@=-]*)?$", "write a branch, a tag or a commit: letters, digits and . _ / + @ = -"
        ),
        description="Branch, tag or commit. When absent, the default branch.",
    )
    include: tuple[Pattern, ...] = Field(
        (), max_length=MAX_PATTERNS, description="Patterns of files to fetch besides those chosen by default."
    )
    exclude: tuple[Pattern, ...] = Field((), max_length=MAX_PATTERNS, description="Patterns of files to leave out.")
    expected_set_digest: str = Field(
        "",
        max_length=64,
        pattern=DIGEST_PATTERN,
        description="Set digest that the files must have. Any other content is refused.",
    )
    builder: BuilderKind | None = Field(
        None, description="Builder that makes the image. When absent, the one that the installation's settings name."
    )

    @field_validator("services")
    @classmethod
    def _known_tasks(cls, services: tuple[str, ...]) -> tuple[str, ...]:
        if AUTO in services:
            if len(services) > 1:
                raise ValueError(AUTO_ALONE)
            return services
        names = []
        for service in services:
            try:
                names.append(resolve(service).name)
            except SlipwayError as error:
                raise ValueError(f"{error.message} {error.hint}") from None
        if len(set(names)) != len(names):
            raise ValueError("a task is named twice; each service is made once")
        return tuple(names)

    @field_validator("name", "include", "exclude")
    @classmethod
    def _no_secrets(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        """Titles may hold addresses, and patterns are names that people copy from addresses."""
        for text in (value,) if isinstance(value, str) else value:
            check_no_secret(text, address=False)
        return value

    @field_validator("source")
    @classmethod
    def _source_is_an_address(cls, source: str, info: ValidationInfo) -> str:
        kind = info.data.get("source_kind")  # none where it is wrong itself
        wrong = find_secret(source) != ""
        if kind is not None and source and (wrong or not re.fullmatch(kind.source.address_pattern, source)):
            raise ValueError(_what_is_wrong(kind.source, source))
        return source

    @model_validator(mode="after")
    def _source_is_there(self) -> ModelSpec:
        if not self.source and self.source_kind.source.address_required:
            raise ValueError(SOURCE_MISSING.format(kind=self.source_kind))
        if self.revision and not self.source_kind.source.has_revisions:
            raise ValueError(REVISION_WITHOUT_COMMITS.format(kind=self.source_kind))
        return self


def _what_is_wrong(kind: type[ModelSource], source: str) -> str:
    """What is wrong with an address, from the kind's strict parser: it refuses all that the pattern refuses, and knows why."""
    try:
        kind.check_address(source)
    except SlipwayError as error:
        return f"{error.message} {error.hint}"
    return kind.address_rule


class Model(_Resource):
    """A ``Model`` as a person writes it."""

    api_version: Literal["slipway.dev/v1alpha1"]
    kind: Literal["Model"]
    metadata: Metadata
    spec: ModelSpec
