"""What pydantic found wrong, in the words of whoever wrote the value: a manifest, a setting or a flag.

Pydantic speaks of Python ("a valid tuple") and shows regular expressions; a person is told what to write. Each pattern of a
field has a rule in words, which ``worded`` ties to it: a pattern without one is said to have a character that is not allowed.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import ErrorDetails

from steps.core.redaction import redact
from steps.core.text import display_text

SHOWN = 80  # characters of a wrong value that a message shows
_RULES: dict[str, str] = {}
# By pydantic's type of error: https://docs.pydantic.dev/latest/errors/validation_errors/
_SENTENCES: dict[str, str] = {
    "string_type": "write a text (in quotes, if it looks like a number or a date)",
    "string_unicode": "it has bytes that are not text in UTF-8",
    "string_too_short": "it is empty, or too short: write at least {min_length} characters",
    "string_too_long": "it is too long: write at most {max_length} characters",
    "too_short": "list at least {min_length}",
    "too_long": "list at most {max_length}; there are {actual_length}",
    "tuple_type": "write a list",
    "list_type": "write a list",
    "dict_type": "write fields with their values below it",
    "model_type": "write fields with their values below it",
    "model_attributes_type": "write fields with their values below it",
    "int_type": "write a whole number",
    "int_parsing": "write a whole number",
    "int_from_float": "write a whole number",
    "int_parsing_size": "write a smaller whole number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "greater_than_equal": "write a number from {ge} on",
    "less_than_equal": "write a number up to {le}",
    "enum": "write {expected}",
    "literal_error": "write {expected}",
}


def worded(pattern: str, rule: str) -> str:
    """Return a field's ``pattern``, and remember the ``rule`` that says in words what it demands."""
    _RULES[pattern] = rule
    return pattern


def rule_of(pattern: str) -> str:
    """Return what a pattern demands, in words."""
    return _RULES.get(pattern, "it has a character that is not allowed here")


def explain(problem: ErrorDetails) -> str:
    """Return what to write instead, and the value: ``write a list, not 'x'``; without a full stop at the end."""
    context: dict[str, Any] = problem.get("ctx", {})
    if problem["type"] == "value_error":
        return str(context["error"]).rstrip(".")
    if problem["type"] == "string_pattern_mismatch":
        text = rule_of(str(context["pattern"]))
    elif problem["type"] in _SENTENCES:
        text = _SENTENCES[problem["type"]].format(**context)
    else:
        text = problem["msg"]
    return f"{text}, not {shown(problem['input'])}"


def is_text(value: str) -> bool:
    """Whether a text can be written as UTF-8: an argument of other bytes has surrogates in their place (PEP 383)."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def shown(value: object) -> str:
    """Return a wrong value as a message shows it."""
    return display_text(redact(repr(value)), SHOWN)
