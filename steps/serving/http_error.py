"""Calls that are refused: their status and the one form that all errors have."""

from __future__ import annotations

from typing import TypedDict

from starlette.responses import JSONResponse, Response


class ErrorDetail(TypedDict):
    """What is wrong with one field, as pydantic reports it."""

    loc: list[int | str]  # the place: an index in a list of requests, then names of fields and indexes in them
    msg: str
    type: str


class HttpError(Exception):
    """A call that gets an error status.

    ``status`` is the HTTP status, ``error`` a sentence that says what to change and begins with a field's name or ``body``,
    ``detail`` has an entry for each wrong field.
    """

    def __init__(self, status: int, error: str, detail: list[ErrorDetail] | None = None) -> None:
        """Keep what the response will say."""
        super().__init__(error)
        self.status, self.error, self.detail = status, error, detail or []

    def response(self) -> Response:
        """The response to send."""
        return JSONResponse({"error": self.error, "detail": self.detail}, self.status)
