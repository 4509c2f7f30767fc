"""The CRD that is checked in is the one that the types give, and it leaves nothing without a limit."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml

from crd.schema import FOLDER, definition, render
from crd.schema_types import Schema
from crd.status import ModelStatus
from crd.types import ModelSpec
from steps.tasks.table import ALIASES, AUTO, TASKS

VERSION = definition()["spec"]["versions"][0]
PARTS = {part: VERSION["schema"]["openAPIV3Schema"]["properties"][part] for part in ("spec", "status")}


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema in a schema, with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


ALL = [found for part, schema in PARTS.items() for found in nodes(schema, part)]


def test_what_is_checked_in_is_fresh() -> None:
    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == render(), "run `make manifests`"
    assert yaml.safe_load((FOLDER / "slipway.dev_models.yaml").read_text()) == definition()


@pytest.mark.parametrize(("path", "schema"), ALL, ids=[path for path, _ in ALL])
def test_everything_has_a_type_and_a_limit(path: str, schema: Schema) -> None:
    match schema["type"]:
        case "string":
            assert "enum" in schema or schema["maxLength"] <= 2048
        case "array":
            assert schema["maxItems"] <= 32
        case "integer":
            assert (schema["format"], schema["minimum"]) == ("int64", 0)
        case "object":
            assert schema["properties"]
        case other:
            assert other == "boolean"


def test_the_schema_is_structural() -> None:
    """By the words that the API server takes: references, alternatives, titles and unknown fields are not among them."""
    words = {word for _, schema in ALL for word in schema}
    assert words == {
        *("type", "format", "description", "nullable", "default", "enum", "required", "properties", "items"),
        *("pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum"),
        *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    }


def test_the_schema_has_every_field_and_default() -> None:
    minimal = {"services": ["ner"], "sourceKind": "upload", "source": "/srv/model"}
    defaults = {name: field["default"] for name, field in PARTS["spec"]["properties"].items() if "default" in field}
    wanted = ModelSpec.model_validate(minimal).model_dump(by_alias=True, mode="json")
    assert set(PARTS["spec"]["properties"]) == set(wanted)
    given = {name: value for name, value in wanted.items() if name not in minimal and value is not None}
    assert defaults == {**given, "source": ""}  # each kind of source requires one, by a rule
    assert set(PARTS["status"]["properties"]) == set(ModelStatus().model_dump(by_alias=True))


def test_the_api_server_writes_nothing_into_a_status() -> None:
    assert not [path for path, schema in ALL if path.startswith("status") and "default" in schema]
    assert [path for path, schema in ALL if "nullable" in schema] == ["status.lastFailure"]


def test_services_are_those_of_the_task_table() -> None:
    services = PARTS["spec"]["properties"]["services"]
    assert services["items"]["enum"] == [AUTO, *TASKS, *ALIASES]
    assert (services["minItems"], services["maxItems"], services["x-kubernetes-list-type"]) == (1, 8, "set")
    rules = [rule["rule"] for rule in services["x-kubernetes-validations"]]
    for alias, name in ALIASES.items():
        assert [rule for rule in rules if f"'{alias}'" in rule and f"'{name}'" in rule]


def test_conditions_are_one_of_each_type() -> None:
    conditions = PARTS["status"]["properties"]["conditions"]
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])


def test_every_rule_says_what_to_write() -> None:
    schemas = [schema for _, schema in ALL] + [VERSION["schema"]["openAPIV3Schema"]]
    rules = [rule for schema in schemas for rule in schema.get("x-kubernetes-validations", [])]
    assert len(rules) >= 9
    for rule in rules:
        assert re.search(r"\b(write|delete|keep)\b", rule["message"]), rule
        assert rule["reason"] in ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired")


def test_what_a_model_is_made_of_cannot_change() -> None:
    fields = PARTS["spec"]["properties"]
    fixed = {name for name, field in fields.items() if "oldSelf" in str(field.get("x-kubernetes-validations"))}
    assert fixed == {"source", "sourceKind", "framework"}
