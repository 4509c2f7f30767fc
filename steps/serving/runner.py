"""What every task's module defines: a ``Request``, an ``Answer``, and a ``Runner`` that makes one of the other.

A request's fields are typed, bounded and described, and nothing else is accepted; so the schema that clients see, the checks
and the code are one thing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict


class BadInput(ValueError):
    """The request cannot be answered as it is; the message begins with the field's name and a colon."""


class Request(BaseModel):
    """What a client sends. Files are fields of the types in ``serving.fields``."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What a client gets: JSON, or, where the answer is a file by nature, that file.

    ``file_type`` is the media type of ``file()``, empty where there is none; with ``file_first`` a client that does not say
    which it wants gets the file.
    """

    model_config = ConfigDict(frozen=True)
    file_type: ClassVar[str] = ""
    file_first: ClassVar[bool] = False

    def file(self) -> bytes:
        """The answer as a file of ``file_type``."""
        raise NotImplementedError


class Chunk(Answer):
    """The next part of an answer that is given in chunks."""


RequestT = TypeVar("RequestT", bound=Request)
AnswerT = TypeVar("AnswerT", bound=Answer)


class Runner(ABC, Generic[RequestT, AnswerT]):
    """The loaded model of ``folder``. It is asked by one thread at a time."""

    @abstractmethod
    def __init__(self, folder: Path) -> None: ...

    @abstractmethod
    def predict(self, request: RequestT) -> AnswerT:
        """Answer one request. Raises ``BadInput``."""

    def predict_all(self, requests: Sequence[RequestT]) -> list[AnswerT]:
        """Answer some requests at once, in order. A task that gains by it does so in one go of the model."""
        return [self.predict(request) for request in requests]


class StreamingRunner(Runner[RequestT, AnswerT]):
    """A runner that can also give its answer in chunks."""

    @abstractmethod
    def stream(self, request: RequestT) -> Iterator[Chunk | AnswerT]:
        """The chunks of the answer as they come, and the whole answer last. Closing it early stops the model."""
