"""The types of fields that several tasks' requests and answers share, with their limits.

The descriptions of fields are the documentation that clients of a service see (``/schema`` and ``/docs.json``).
"""

from __future__ import annotations

import base64
import functools
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field, WithJsonSchema


@dataclass(frozen=True)
class FileField:
    """Marks a field of a request that holds a file's bytes. ``media_type`` stands in the schema, such as ``image/*``."""

    media_type: str


def _schema(media_type: str) -> WithJsonSchema:
    """How OpenAPI 3.0 describes a file in a form (https://spec.openapis.org/oas/v3.0.3#considerations-for-file-uploads)."""
    return WithJsonSchema({"type": "string", "format": "binary", "contentMediaType": media_type})


Picture = Annotated[bytes, FileField("image/*"), _schema("image/*")]
Sound = Annotated[bytes, FileField("audio/*"), _schema("audio/*")]
Video = Annotated[bytes, FileField("video/*"), _schema("video/*")]
OptionalPicture = Annotated[bytes | None, FileField("image/*"), _schema("image/*")]
OptionalSound = Annotated[bytes | None, FileField("audio/*"), _schema("audio/*")]

Text = Annotated[str, Field(min_length=1, max_length=100_000)]  # characters
ShortText = Annotated[str, Field(min_length=1, max_length=500)]
ShortTexts = Annotated[list[ShortText], Field(min_length=1, max_length=100)]
TopK = Annotated[int, Field(ge=1, le=1000)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Media(BaseModel):
    """A file inside a JSON answer."""

    media_type: str
    data: str = Field(description="the file's bytes, in base64")

    @classmethod
    def of(cls, media_type: str, data: bytes) -> Media:
        """Encode a file's bytes."""
        return cls(media_type=media_type, data=base64.b64encode(data).decode())

    def read(self) -> bytes:
        """The file's bytes."""
        return base64.b64decode(self.data)


class Label(BaseModel):
    """One class with its score."""

    label: str = Field(description="the class's name")
    score: float


@functools.cache
def file_fields(model: type[BaseModel]) -> dict[str, str]:
    """The names of a request's fields that hold files, each with its media type."""
    return {
        name: mark.media_type
        for name, field in model.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, FileField)
    }
