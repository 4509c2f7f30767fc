"""What a packaged service says of itself: ``GET /info`` and ``GET /schema``, beside BentoML's own ``/docs.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

PICKLE = b"application/vnd.bentoml+pickle"


class About:
    """ASGI middleware. ``folder`` holds the package's ``slipway.json``; ``example`` is the golden request.

    It also refuses BentoML's pickle format, as BentoML itself does, but without a traceback in the log for each such call.
    """

    def __init__(
        self, app: Any, folder: Path, request: type[BaseModel], answer: type[BaseModel], example: dict[str, Any]
    ) -> None:
        schema = {"request": request.model_json_schema(), "answer": answer.model_json_schema(), "example": example}
        self._app = app
        self._pages = {"/info": (folder / "slipway.json").read_bytes(), "/schema": json.dumps(schema).encode()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif (page := self._pages.get(scope["path"])) is not None:
            if scope["method"] in ("GET", "HEAD"):
                await _answer(send, 200, page, head=scope["method"] == "HEAD")
            else:
                await _answer(send, 405, _error("method: send GET"), (b"allow", b"GET, HEAD"))
        elif any(name == b"content-type" and value.partition(b";")[0].strip() == PICKLE for name, value in scope["headers"]):
            await _answer(send, 415, _error("body: pickle is not read"))
        else:
            await self._app(scope, receive, send)


def _error(text: str) -> bytes:
    """The form of all errors."""
    return json.dumps({"error": text, "detail": []}).encode()


async def _answer(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes], head: bool = False) -> None:
    usual = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*usual, *headers]})
    await send({"type": "http.response.body", "body": b"" if head else body})
