"""docs/crd.md: the fields of the resource ``Model``, from the CRD's schema in ``crd.schema``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from crd.schema import GROUP, VERSION, definition
from pipelines.pages.markdown import code, page, sentence, table

Schema = Mapping[str, Any]
LIMITS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "pattern": "matches `{}`",
}
MAX_ENUM = 8  # values that a cell lists


def crd_page() -> str:
    """Return the page."""
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return page(
        "The resource Model",
        f"A `Model` (`{GROUP}/{VERSION}`, plural `models`, short `mdl`) says which model to fetch and which services to make "
        "of it. The same file is read by `slipway run -f` on a laptop and by `kubectl apply -f` in a cluster, and both check "
        "it by the same rules. `kubectl explain model.spec` shows these fields as well. [cluster.md](cluster.md) shows how a "
        "Model is run and what its status looks like.",
        f"    apiVersion: {GROUP}/{VERSION}\n    kind: Model\n    metadata:\n      name: digits-vit\n    spec:\n"
        "      services: [image-classification]\n      sourceKind: git_lfs\n      source: https://example.org/org/model",
        "The name is a DNS label of at most 40 characters. `framework`, `sourceKind` and `source` cannot be changed later: "
        "delete the Model, or make another one.",
        "## spec",
        fields_table(schema["spec"]),
        *rules(schema["spec"]),
        "## status",
        "The operator writes it, and nobody else. A field that has no value is left out. Conditions follow Kubernetes' "
        "conventions; a condition's reason is one of [errors.md](errors.md) when something failed.",
        fields_table(schema["status"], defaults=False),
    )


def fields_table(schema: Schema, *, defaults: bool = True) -> str:
    """Return the table of an object's fields, at any depth; the status has no defaults."""
    heads = ["field", "type", "default", "limits", "meaning"] if defaults else ["field", "type", "limits", "meaning"]
    rows = []
    for path, field, required in fields_of(schema):
        default = "required" if required else code(field.get("default", ""))
        cells = [code(path), type_of(field), *([default] if defaults else []), limits_of(field)]
        rows.append([*cells, sentence(field.get("description", ""))])
    return table(heads, rows)


def fields_of(schema: Schema, prefix: str = "") -> Iterator[tuple[str, Schema, bool]]:
    """Yield each field with its path, ``services[].task`` for one inside a list, and whether it is required."""
    for name, field in schema.get("properties", {}).items():
        yield prefix + name, field, name in schema.get("required", ())
        yield from fields_of(field, f"{prefix}{name}.")
        yield from fields_of(field.get("items", {}), f"{prefix}{name}[].")


def type_of(field: Schema) -> str:
    """Return the type in words: ``string``, ``list of strings``."""
    if field["type"] == "array":
        return f"list of {field['items']['type']}s"
    return str(field["type"])


def limits_of(field: Schema) -> str:
    """Return what a value, or each entry of a list, is held to."""
    found = [text.format(field[key]) for key, text in LIMITS.items() if key in field and key != "pattern"]
    found = [re.sub(r" 1 (\w+)ies$", r" 1 \1y", text) for text in found]
    if values := field.get("enum"):
        found.append("one of " + ", ".join(code(value) for value in values if value is not None))
    entries = field.get("items", {})
    if values := entries.get("enum"):
        found.append(
            "each one of " + ", ".join(code(value) for value in values)
            if len(values) <= MAX_ENUM
            else "each a task or alias of [tasks.md](tasks.md), or `auto`"
        )
    if "pattern" in field:
        found.append(LIMITS["pattern"].format(field["pattern"]))
    if "pattern" in entries:
        found.append("each " + LIMITS["pattern"].format(entries["pattern"]))
    return "; ".join(found)


def rules(schema: Schema) -> list[str]:
    """Return the rules that concern more than one field, or a field and its value before, as the API server states them."""
    found = [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]
    for field in schema["properties"].values():
        found += [rule["message"] for rule in field.get("x-kubernetes-validations", ())]
    return ["Rules, in the words of the API server's messages:", "\n".join(f"- {message}" for message in dict.fromkeys(found))]
