"""Reading a run's documents for a report: one that is missing or damaged is noted, and the report goes on without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steps.core.contract import Context, ModelT
from steps.core.errors import SlipwayError
from steps.core.text import display_text


class Documents:
    """The store's documents; ``unreadable`` says of each that could not be read where it should be and what is wrong."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.unreadable: list[str] = []

    def read(self, key: object, model: type[ModelT]) -> ModelT | None:
        """The document, or None where the step has not named one or it cannot be read.

        Raises what a retry can mend: a store out of reach is no reason for a report with holes.
        """
        if not isinstance(key, str) or not key:
            return None
        try:
            return self._context.read_document(key, model)
        except SlipwayError as error:
            if error.reason.retryable:
                raise
            self.unreadable.append(display_text(error.message, 600))
            return None


def text_of(values: Mapping[str, Any], name: str) -> str:
    """A field of a record that should be a text; empty where it is none."""
    value = values.get(name)
    return value if isinstance(value, str) else ""
