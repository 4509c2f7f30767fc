"""The tables of a service's API, made from whatever it answers as its OpenAPI document."""

from __future__ import annotations

import pytest
from hypothesis import given
from pydantic import JsonValue

from steps.reporting.openapi_tables import request_table, response_table
from tests.steps.reporting.json_values import JSON


@pytest.mark.slow
@given(schema=JSON, parameters=JSON)
def test_no_openapi_document_breaks_the_tables(schema: JsonValue, parameters: JsonValue) -> None:
    document: dict[str, JsonValue] = {
        "components": {"schemas": {"A": schema, "Loop": {"$ref": "#/components/schemas/Loop"}}},
        "paths": {
            "/predict": {
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": schema}}},
                    "responses": {"200": parameters},
                }
            }
        },
    }
    request, response = request_table(document), response_table(document)
    assert request is None or request.rows
    assert response is None or response.rows


def test_a_recursive_schema_has_an_end() -> None:
    tree: JsonValue = {
        "properties": {"left": {"$ref": "#/components/schemas/Tree"}, "right": {"$ref": "#/components/schemas/Tree"}}
    }
    document: dict[str, JsonValue] = {
        "components": {"schemas": {"Tree": tree}},
        "paths": {"/predict": {"post": {"requestBody": {"content": {"application/json": {"schema": tree}}}}}},
    }
    found = request_table(document)
    assert found is not None
    assert len(found.rows) == 60
