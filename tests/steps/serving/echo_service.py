"""A service without a model: our own reading and answering of requests as a bare ASGI application, and a fake runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request as Http
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from steps.serving import runner
from steps.serving.about import InfoMiddleware
from steps.serving.fields import OptionalPicture, Picture, ShortTexts
from steps.serving.http import make_response
from steps.serving.http_error import HttpError
from steps.serving.queue import RequestQueue
from steps.serving.request_body import read_request


class TextRequest(runner.Request):
    text: str = Field(max_length=1000)
    number: int = Field(1, ge=0, le=100)
    share: float | None = Field(None, ge=0, le=1)
    mode: Literal["quiet", "2024", "true"] = "quiet"
    exact: bool = False
    labels: ShortTexts | None = None
    boxes: list[list[int]] = Field([], max_length=10)


class PictureRequest(TextRequest):
    text: str = Field("", max_length=1000)
    image: Picture
    other: OptionalPicture = None


class Answer(runner.Answer):
    """Says what the runner was given; files as texts."""

    file_type: ClassVar[str] = "image/png"
    seen: dict[str, Any]

    def file(self) -> bytes:
        return b"\x89PNG"


class Echo(runner.Runner[runner.Request, Answer]):
    def __init__(self, folder: Path = Path()) -> None: ...

    def predict(self, request: runner.Request) -> Answer:
        values = request.model_dump()
        match values["text"]:
            case "bad":
                raise runner.BadInput("text: this one is bad")
            case "large":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return Answer(
            seen={name: value.decode("latin-1") if isinstance(value, bytes) else value for name, value in values.items()}
        )


def service(model: type[runner.Request], folder: Path | None = None) -> TestClient:
    """A client of ``POST /predict``; with ``folder``, of ``/info`` and ``/schema`` too. An exception in it is raised here."""
    queue = RequestQueue(Echo(), batch=4)

    async def predict(request: Http) -> Response:
        try:
            return await make_response(queue, await read_request(request, model))
        except HttpError as refusal:
            return await make_response(queue, refusal)

    app: Any = Starlette(routes=[Route("/predict", predict, methods=["POST"])])
    if folder is not None:
        app = InfoMiddleware(app, folder, model, Answer, {"text": "hello"})
    return TestClient(app)
