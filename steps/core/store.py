"""The interface of a store, as a step's context holds it: objects under keys, published whole or not at all.

Steps pass each other keys, never files. A key is a function of digests, so a repeated run finds its work done, and two
runs at once write the same bytes. ``steps.store`` has the stores that keep these promises; docs/stores.md has the keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator

from steps.core.errors import Reason, SlipwayError
from steps.core.text import display_text

# Every key is made by Slipway; the pattern is a guard against a mistake of ours, not a filter of user input.
KEY = re.compile(r"(?!.*(^|/)\.\.?(/|$))[A-Za-z0-9._@+=-]+(/[A-Za-z0-9._@+=-]+)*")


class Store(Protocol):
    """Objects under keys.

    All errors are ``SlipwayError``: ``StoreUnreadable`` for a missing object, ``StoreBusy`` where a retry may help,
    ``DiskFull`` and ``AccessDenied`` as they say, ``InternalError`` for a key that does not match ``KEY``.
    """

    @property
    def uri(self) -> str:
        """The store's own address, as ``open_store`` takes it."""
        ...

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None where there is none."""
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the object's bytes, from the first to the last; ``DigestMismatch`` where the store notices other bytes."""
        ...

    def put(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Create the object from a stream, if absent; False where there is one already (the stream is then not read).

        Nothing is visible under the key before the stream has ended; an error inside the stream leaves nothing. False also
        where another writer has published the same bytes in the meantime, ``PublishConflict`` where it was other bytes.
        """
        ...

    def put_file(self, key: str, path: Path) -> bool:
        """As ``put``, from a file that the store may take over: the caller must not change it afterwards."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Create or replace a small object in one request. For receipts and records only; everything else is put once."""
        ...

    def copy_to(self, key: str, path: Path) -> None:
        """Copy the object to a new file, by a link where that costs nothing. The file must not be changed."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with the text ``prefix``, sorted."""
        ...

    def locate(self, key: str) -> str:
        """Return where a person finds the object: a path, or a URI."""
        ...


MAX_PART = 255  # bytes between two slashes: what a file system takes


def _key(text: str) -> str:
    if not KEY.fullmatch(text) or max(map(len, text.split("/"))) > MAX_PART:
        raise ValueError(f"{display_text(repr(text))} is not the key of an object in a store, such as locks/SHA256.json")
    return text


# A key that somebody gave us: a flag of a step, a parameter of a Workflow.
StoreKey = Annotated[str, AfterValidator(_key)]


def check_key(key: str) -> str:
    """Return the key; raises ``InternalError`` where it does not match ``KEY``."""
    if not KEY.fullmatch(key):
        raise SlipwayError(Reason.INTERNAL_ERROR, f"{key!r} is not a key that a store accepts.")
    return key


class ObjectNotFoundError(SlipwayError):
    """There is no such object, or not this version of it."""


def object_not_found(where: str) -> ObjectNotFoundError:
    """Return the error for an object that is not there; ``where`` is what ``Store.locate`` says of it."""
    return ObjectNotFoundError(Reason.STORE_UNREADABLE, f"There is no object at {where}.", hint="Run the step that makes it.")
