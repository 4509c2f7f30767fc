"""What the module of each task defines: a ``Request``, an ``Answer``, and a ``Runner`` that makes an answer for a request.

A request's fields are typed, bounded and described, and no others are accepted. So the schema that clients see, the checks and
the code are one thing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict


class BadInput(ValueError):
    """A request that cannot be answered as it is. The message begins with a field's name and a colon; clients get it."""


class Request(BaseModel):
    """What a client sends. Files are fields of the types in ``serving.fields``."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What a client gets: JSON or, where the answer can also be a file, that file if the client prefers it.

    ``file_type`` is the media type of ``file()``, empty if there is none. With ``file_first``, a client that states no
    preference gets the file.
    """

    model_config = ConfigDict(frozen=True)
    file_type: ClassVar[str] = ""
    file_first: ClassVar[bool] = False

    def file(self) -> bytes:
        """The answer as a file of ``file_type``."""
        raise NotImplementedError


class Chunk(Answer):
    """The next part of an answer that is streamed."""


RequestT = TypeVar("RequestT", bound=Request)
AnswerT = TypeVar("AnswerT", bound=Answer)


class Runner(ABC, Generic[RequestT, AnswerT]):
    """A loaded model with what it needs to read requests. One thread at a time calls it."""

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Load the model from the files in ``folder``. Raises whatever the library raises for a model that it cannot load."""

    @abstractmethod
    def predict(self, request: RequestT) -> AnswerT:
        """Answer one request. Raises ``BadInput`` if this model cannot answer it."""

    def predict_all(self, requests: Sequence[RequestT]) -> list[AnswerT]:
        """Answer several requests, in order. A task that gains by it answers them in one forward pass of the model.

        Raises ``BadInput`` if one of them cannot be answered; the caller then sends each one by itself.
        """
        return [self.predict(request) for request in requests]


class StreamingRunner(Runner[RequestT, AnswerT]):
    """A runner that can also stream its answer."""

    @abstractmethod
    def stream(self, request: RequestT) -> Generator[Chunk | AnswerT, None, None]:
        """Yield the answer's chunks as they come, and the whole answer last.

        Closing the generator early stops the model. Raises ``BadInput`` as ``predict`` does, before the first chunk.
        """
