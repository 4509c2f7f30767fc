"""The parts of a CustomResourceDefinition that ``crd.schema`` writes.

Field names are those of apiextensions.k8s.io/v1
(https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/custom-resource-definition-v1/).
"""

from __future__ import annotations

from typing import TypedDict

from crd.kubernetes_objects import ObjectMetadata


class Rule(TypedDict, total=False):
    """A validation rule in CEL, with what the API server answers where it is broken."""

    rule: str
    message: str
    reason: str
    fieldPath: str


# A structural schema, and what of a JSON schema of pydantic becomes one.
Schema = TypedDict(
    "Schema",
    {
        "$ref": str,
        "$defs": dict[str, "Schema"],
        "anyOf": list["Schema"],
        "type": str,
        "format": str,
        "description": str,
        "nullable": bool,
        "default": object,
        "enum": list[str],
        "required": list[str],
        "properties": dict[str, "Schema"],
        "items": "Schema",
        "pattern": str,
        "minLength": int,
        "maxLength": int,
        "minItems": int,
        "maxItems": int,
        "minimum": int,
        "x-kubernetes-validations": list[Rule],
        "x-kubernetes-list-type": str,
        "x-kubernetes-list-map-keys": list[str],
    },
    total=False,
)


class PrinterColumn(TypedDict, total=False):
    """A column of ``kubectl get models``."""

    name: str
    type: str
    jsonPath: str
    priority: int


class VersionSchema(TypedDict):
    """The schema of a version."""

    openAPIV3Schema: Schema


class Version(TypedDict):
    """A version of the resource."""

    name: str
    served: bool
    storage: bool
    schema: VersionSchema
    subresources: dict[str, dict[str, str]]
    additionalPrinterColumns: list[PrinterColumn]


class Names(TypedDict):
    """How the resource is called."""

    kind: str
    listKind: str
    plural: str
    singular: str
    shortNames: list[str]
    categories: list[str]


class DefinitionSpec(TypedDict):
    """``spec`` of the definition."""

    group: str
    names: Names
    scope: str
    versions: list[Version]


class Definition(TypedDict):
    """A CustomResourceDefinition, as a manifest."""

    apiVersion: str
    kind: str
    metadata: ObjectMetadata
    spec: DefinitionSpec
