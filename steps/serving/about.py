"""``GET /info`` and ``GET /schema``: which model a service answers with, and what it takes and returns.

They stand beside the pages that BentoML adds by itself, such as ``/docs.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, JsonValue
from starlette.types import ASGIApp, Receive, Scope, Send

from .walls.raised import standing

PICKLE = b"application/vnd.bentoml+pickle"


class InfoMiddleware:
    """ASGI middleware that answers ``/info`` and ``/schema`` and passes every other call on.

    It also refuses BentoML's pickle format, as BentoML itself does, but without a traceback in the log for each such call.
    """

    def __init__(
        self, app: ASGIApp, folder: Path, request: type[BaseModel], answer: type[BaseModel], example: Mapping[str, JsonValue]
    ) -> None:
        """Read what both pages tell.

        Args:
            app: The application behind this middleware.
            folder: Where the package's ``slipway.json`` is: what ``/info`` tells, beside the walls that stand.
            request: The task's request; its JSON schema is a part of ``/schema``.
            answer: The task's answer, likewise.
            example: The golden request: its fields, and the paths of its files.
        """
        schema = {"request": request.model_json_schema(), "answer": answer.model_json_schema(), "example": example}
        self._app = app
        self._about: dict[str, JsonValue] = json.loads((folder / "slipway.json").read_bytes())
        self._schema = json.dumps(schema).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, see the ASGI specification (https://asgi.readthedocs.io)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] in ("/info", "/schema"):
            page = self._schema if scope["path"] == "/schema" else json.dumps({**self._about, "walls": standing()}).encode()
            if scope["method"] in ("GET", "HEAD"):
                await _respond(send, 200, page, head=scope["method"] == "HEAD")
            else:
                await _respond(send, 405, _error("method: send GET"), (b"allow", b"GET, HEAD"))
        elif any(name == b"content-type" and value.partition(b";")[0].strip() == PICKLE for name, value in scope["headers"]):
            await _respond(send, 415, _error("body: pickle is not read"))
        else:
            await self._app(scope, receive, send)


def _error(text: str) -> bytes:
    """The body of an error, in the same form as all others."""
    return json.dumps({"error": text, "detail": []}).encode()


async def _respond(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes], head: bool = False) -> None:
    """Send a JSON response; for a ``HEAD`` request the headers only."""
    usual = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*usual, *headers]})
    await send({"type": "http.response.body", "body": b"" if head else body})
