"""What a request must be before BentoML reads it.

BentoML 1.4 fetches the address when a file field holds a text; a service here reaches nobody, so a file field must hold a file.
A body that is too large is refused while it arrives, not after.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MAX_BODY = 64 << 20  # bytes


class Guard:
    """ASGI middleware in front of ``POST /predict``. ``files`` names the fields that hold files."""

    def __init__(self, app: Any, files: Sequence[str] = ()) -> None:
        self._app, self._files = app, files

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            await _refuse(send, 413, f"body: larger than {MAX_BODY} bytes")
            return
        if self._files and (why := await self._misfit(scope, body)):
            await _refuse(send, 400, why)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _misfit(self, scope: Any, body: bytes) -> str | None:
        from starlette.datastructures import UploadFile
        from starlette.exceptions import HTTPException
        from starlette.formparsers import MultiPartException
        from starlette.requests import Request

        request = Request(scope, _replay(body, None))
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            return f"body: send multipart/form-data with a file in the field {self._files[0]}"
        try:
            async with request.form() as form:
                for name in self._files:
                    if not form.getlist(name):
                        return f"{name}: this field is required, and holds a file"
                    if not all(isinstance(value, UploadFile) for value in form.getlist(name)):
                        return f"{name}: send the file itself, not its name or address"
        except (HTTPException, MultiPartException) as error:
            return f"body: {error}"
        return None


async def _read(receive: Any) -> bytes | None:
    """The whole body, or None when it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, rest: Any) -> Any:
    """A receive function that gives the body once, and then what the connection says (that the client left)."""
    given = False

    async def receive() -> Any:
        nonlocal given
        if given and rest is not None:
            return await rest()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _refuse(send: Any, status: int, why: str) -> None:
    text = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
