"""The rules of the CRD for a Model, once more in jq: for events, which may be about Models that are older than the rules.

The Sensor makes a Workflow of an event by itself, so it must not believe what the API server let in at another time. The
program is made from the schema in ``crd.schema`` and from the tables behind its rules, and a test holds that it gives every
Model the verdict that ``crd.types`` gives. It must be read alike by gojq, which Argo Events uses (RE2), and by jq (Oniguruma).
"""

from __future__ import annotations

import json
import re

from crd.schema import definition, name_pattern
from crd.schema_types import Schema
from steps.core.redaction import SECRET_IN_ADDRESS, SECRET_IN_TEXT
from steps.sources.supported import SourceKind
from steps.tasks.table import AUTO, TASKS


def accepts() -> str:
    """Return a jq expression: whether the Model that is the input would be let in today. It fails for no input."""
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    rules = [
        f"(.metadata.name | {_text(name_pattern())})",
        f"(.spec | {_value(schema)})",
        f"(.spec | {_services()})",
        *(f"(.spec | {_source(kind)})" for kind in SourceKind),
        f"(.spec | {_secrets()})",
    ]
    return "(try (" + "\n    and ".join(rules) + ") catch false)"


def _value(schema: Schema) -> str:
    """Whether the input follows a structural schema; a field that is null counts as absent, as the API server takes it."""
    match schema["type"]:
        case "object":
            required = schema.get("required", [])
            fields = [
                f"(.{name} | {'' if name in required else '. == null or '}{_value(field)})"
                for name, field in schema["properties"].items()
            ]
            return " and ".join(['type == "object"', *fields])
        case "array":
            size = f"length >= {schema.get('minItems', 0)} and length <= {schema['maxItems']}"
            unique = " and (unique | length) == length" if schema.get("x-kubernetes-list-type") == "set" else ""
            return f'(type == "array" and {size}{unique} and all(.[]; {_value(schema["items"])}))'
        case "string":
            rules = ['type == "string"']
            if "minLength" in schema:
                rules.append(f"length >= {schema['minLength']}")
            if "maxLength" in schema:
                rules.append(f"length <= {schema['maxLength']}")
            if "enum" in schema:
                rules.append(f"IN({', '.join(map(json.dumps, schema['enum']))})")
            if "pattern" in schema:
                rules.append(_matches(schema["pattern"]))
            return f"({' and '.join(rules)})"
        case other:
            raise ValueError(f"no field of a spec is a {other} yet")


def _text(pattern: str) -> str:
    return f'type == "string" and {_matches(pattern)}'


def _matches(pattern: str) -> str:
    """Whether a text matches as a whole; in Oniguruma ``^`` and ``$`` would be the ends of a line."""
    inner = re.sub(r"\\x([0-9a-f]{2})", r"\\x{\1}", pattern.removeprefix("^").removesuffix("$"))
    whole = rf"\A(?:{inner})\z"
    return f"test({json.dumps(whole)})"


def _services() -> str:
    """Whether no task is named twice, by two of its names, and ``auto`` stands alone."""
    twice = (
        f"([.services[] | select(IN({', '.join(json.dumps(name) for name in (task.name, *task.aliases))}))] | length) <= 1"
        for task in TASKS.values()
        if task.aliases
    )
    return " and ".join([f"((.services | index({json.dumps(AUTO)})) == null or (.services | length) == 1)", *twice])


def _source(kind: SourceKind) -> str:
    """Whether there is an address where this kind of source needs one, and it is one."""
    other, matches = f".sourceKind != {json.dumps(kind.value)}", _matches(kind.source.address_pattern)
    absent = "" if kind.source.address_required else '. == "" or '
    revision = "" if kind.source.has_revisions else ' and (.revision // "") == ""'
    return f'{other} or ((.source // "" | {absent}{matches}){revision})'


def _secrets() -> str:
    """Whether no address has a place for secrets, and no other text an address with one."""
    in_address, in_text = f"test({json.dumps(SECRET_IN_ADDRESS)})", f"test({json.dumps(SECRET_IN_TEXT)})"
    texts = '(.name // ""), (.include // [])[], (.exclude // [])[]'
    return f'((.source // "" | {in_address} | not) and all({texts}; {in_text} | not))'
