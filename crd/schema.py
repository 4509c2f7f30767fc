"""The CustomResourceDefinition ``models.slipway.dev``, made from the types in ``crd.types`` and ``crd.status``.

``python -m crd.schema`` writes ``crd/bases/``; a test compares what is checked in with what this makes. The types give a
structural schema (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/); what
concerns two fields, or a field and its past, is a rule in CEL, built from the same expressions that the types use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import cast

import yaml

from crd.schema_types import Definition, PrinterColumn, Rule, Schema
from crd.status import ModelStatus
from crd.types import (
    API_VERSION,
    KIND,
    PLURAL,
    REVISION_WITHOUT_COMMITS,
    SOURCE_MISSING,
    Metadata,
    ModelSpec,
)
from steps.core.names import NAME_RULE
from steps.core.redaction import SECRET_IN_ADDRESS, SECRET_IN_TEXT, SECRET_RULE
from steps.sources.base import ModelSource
from steps.sources.supported import SourceKind
from steps.tasks.table import ALIASES, AUTO, AUTO_ALONE, TASKS

GROUP, VERSION = API_VERSION.split("/")
FOLDER = Path(__file__).parent / "bases"
FILE = f"{GROUP}_{PLURAL}.yaml"
HEADER = "# Made by `make manifests`; change the Python it comes from instead.\n"
LABELS = {"app.kubernetes.io/part-of": "slipway"}
KEPT = ("type", "format", "enum", "pattern", "default", "minimum", "minLength", "maxLength", "minItems", "maxItems", "required")
COLUMNS = (  # name, type, path in the object, priority (1: only with -o wide)
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Source", "string", ".spec.source", 0),
    ("Revision", "string", ".status.revision", 0),
    ("Set Digest", "string", ".status.setDigest", 1),
    ("Workflow", "string", ".status.workflow", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)


def definition() -> Definition:
    """The CustomResourceDefinition, as a manifest."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}", "labels": LABELS},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["mdl"],
                "categories": ["slipway"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _model()},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
                }
            ],
        },
    }


def _column(name: str, type_: str, path: str, priority: int) -> PrinterColumn:
    column: PrinterColumn = {"name": name, "type": type_, "jsonPath": path}
    return {**column, "priority": priority} if priority else column


def name_pattern() -> str:
    """The pattern of a Model's name."""
    return str(Metadata.model_json_schema()["properties"]["name"]["pattern"])


def _model() -> Schema:
    pattern = name_pattern()
    return {
        "description": "A model that Slipway fetches, checks, packages and serves.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": _spec(),
            "status": _status(),
        },
        "x-kubernetes-validations": [
            _rule(
                f"self.metadata.name.matches({_literal(pattern)})",
                NAME_RULE,
                field=".metadata.name",
            )
        ],
    }


def _spec() -> Schema:
    schema = structural(cast(Schema, ModelSpec.model_json_schema()))
    fields = schema["properties"]
    for name in ("framework", "sourceKind", "source"):
        fields[name]["x-kubernetes-validations"] = [
            _rule(
                "self == oldSelf",
                f"{name} cannot be changed: delete this Model and create it again, or create another Model beside it",
                reason="FieldValueForbidden",
            )
        ]
    fields["services"]["items"]["enum"] = [AUTO, *TASKS, *ALIASES]
    fields["services"]["x-kubernetes-list-type"] = "set"
    fields["services"]["x-kubernetes-validations"] = [
        _rule(
            f"self.filter(name, name in {names}).size() <= 1",
            # Not as FieldValueDuplicate: with that reason the API server leaves the message out.
            f"{' and '.join(names)} are the same task: keep one of them",
        )
        for names in ([task.name, *task.aliases] for task in TASKS.values())
        if len(names) > 1
    ]
    fields["services"]["x-kubernetes-validations"].append(_rule(f"!({_literal(AUTO)} in self) || self.size() == 1", AUTO_ALONE))
    schema["x-kubernetes-validations"] = [*source_rules([kind.source for kind in SourceKind]), *secret_rules()]
    return schema


def source_rules(sources: Iterable[type[ModelSource]]) -> list[Rule]:
    """The validations of ``source`` by ``sourceKind``: an address is there where the kind needs one, and follows its rule."""
    rules: list[Rule] = []
    for source in sources:
        other = f"self.sourceKind != '{source.name}'"
        if source.address_required:
            missing = f"{SOURCE_MISSING.format(kind=source.name)}: {source.address_rule}"
            rules.append(_rule(f"{other} || self.source != ''", missing, reason="FieldValueRequired", field=".source"))
        matches = f"self.source.matches({_literal(source.address_pattern)})"
        rules.append(_rule(f"{other} || self.source == '' || {matches}", source.address_rule, field=".source"))
        if not source.has_revisions:
            message = REVISION_WITHOUT_COMMITS.format(kind=source.name)
            rules.append(_rule(f"{other} || self.revision == ''", message, field=".revision"))
    return rules


def secret_rules() -> list[Rule]:
    """The validations of what may hold an address: no place for secrets. On the spec, whose value no message of them shows."""
    in_address, in_text = _literal(SECRET_IN_ADDRESS), _literal(SECRET_IN_TEXT)
    return [
        _rule(f"!self.source.matches({in_address})", SECRET_RULE, field=".source"),
        _rule(f"!self.name.matches({in_text})", SECRET_RULE, field=".name"),
        *(
            _rule(f"self.{name}.all(pattern, !pattern.matches({in_text}))", SECRET_RULE, field=f".{name}")
            for name in ("include", "exclude")
        ),
    ]


def _status() -> Schema:
    schema = structural(cast(Schema, ModelStatus.model_json_schema()), defaults=False)
    for name, key in (("conditions", "type"), ("services", "task")):
        field = schema["properties"][name]
        field["x-kubernetes-list-type"], field["x-kubernetes-list-map-keys"] = "map", [key]
    return schema


def structural(schema: Schema, *, defaults: bool = True) -> Schema:
    """Turn pydantic's JSON schema into a structural one: references written out, no titles.

    Without ``defaults`` the API server adds nothing to what was written, and ``null`` is ``nullable``. That is for the status,
    which has one writer.
    """
    definitions = schema.get("$defs", {})

    def convert(node: Schema) -> Schema:
        reference = node.get("$ref")
        if reference is not None:
            node = definitions[reference.removeprefix("#/$defs/")] | node
        made: Schema = {}
        if "description" in node:
            made["description"] = " ".join(node["description"].replace("``", "`").split())
        if "anyOf" in node:
            [wanted] = [part for part in node["anyOf"] if part != {"type": "null"}]
            # What is neither nullable nor has a default, the API server takes away if it is null: null is absent.
            alternative: Schema = {**convert(wanted), **made}
            if not defaults:
                alternative["nullable"] = True
            return alternative
        kept = {key: value for key, value in node.items() if key in KEPT and (defaults or key != "default")}
        made = {**made, **cast(Schema, kept)}
        if node["type"] == "integer":
            made["format"] = "int64"
        if "items" in node:
            made["items"] = convert(node["items"])
        if "properties" in node:
            made["properties"] = {name: convert(field) for name, field in node["properties"].items()}
        return made

    return convert(schema)


def _rule(rule: str, message: str, *, reason: str = "FieldValueInvalid", field: str | None = None) -> Rule:
    made: Rule = {"rule": rule, "message": message, "reason": reason}
    return {**made, "fieldPath": field} if field else made


def _literal(pattern: str) -> str:
    """A raw string of CEL; no expression here holds a double quote."""
    return f'r"{pattern}"'


def render() -> Mapping[str, str]:
    """The text of each file in ``bases/``, by name: the CRD, and a kustomization that other kustomizations can refer to."""
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [FILE]}
    documents = {FILE: definition(), "kustomization.yaml": kustomization}
    return {
        name: HEADER + yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120) for name, document in documents.items()
    }


class _Plain(yaml.SafeDumper):
    """Writes equal lists out, without anchors."""

    def ignore_aliases(self, data: object) -> bool:
        """Whether to write ``data`` without an anchor: always."""
        return True


def write() -> None:
    """Write the files of ``bases/``."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in render().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
