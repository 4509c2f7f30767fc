"""Reading a run's documents for a report: one that is missing or damaged is noted, and the report is made without it."""

from __future__ import annotations

from collections.abc import Mapping

from steps.core.contract import Context, ModelT
from steps.core.errors import SlipwayError
from steps.core.text import display_text


class DocumentReader:
    """The documents of a run in the store.

    Attributes:
        errors: One message for each document that could not be read.
    """

    def __init__(self, context: Context) -> None:
        """Read from the context's store."""
        self._context = context
        self.errors: list[str] = []

    def read(self, key: object, model: type[ModelT]) -> ModelT | None:
        """Return the document, or None where the step has not named one or it cannot be read.

        Raises:
            SlipwayError: A retry may help: while the store is out of reach, a report with gaps is not made.
        """
        if not isinstance(key, str) or not key:
            return None
        try:
            return self._context.read_document(key, model)
        except SlipwayError as error:
            if error.reason.retryable:
                raise
            self.errors.append(display_text(error.message, 600))
            return None


def text_field(values: Mapping[str, object], name: str) -> str:
    """Return a field of a record that should be a text; empty where it is not."""
    value = values.get(name)
    return value if isinstance(value, str) else ""


def int_field(values: Mapping[str, object], name: str) -> int:
    """Return a field of a record that should be an integer; 0 where it is not."""
    value = values.get(name)
    return value if isinstance(value, int) else 0
