"""The interface of a store that is opened by an address: the objects of ``steps.core.store.Store`` and what its kind has.

Steps see a ``Store`` and no more. What opens stores, lists them in help texts or checks them before a run reads the class
attributes of ``StoreBackend``; ``steps.store.supported`` has the table of all classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

from steps.core.store import Store


class StoreBackend(Store, ABC):
    """One kind of store. Opening one contacts nothing and imports no third-party package.

    Attributes:
        scheme: The scheme of its addresses (RFC 3986, section 3.1): what stands before ``://``.
        example: An address as help texts show it, the parts to replace in capitals.
        title: Where the objects lie, in the words of whoever runs that place.
        shared: Whether the address means the same objects on every machine, as the pods of a cluster need.
        environment: Shell patterns of the environment variables that its client library reads. A step that runs with an
            environment of its own is given those and no others.
        google_cloud: Whether its credentials are those of Google Cloud.
    """

    scheme: ClassVar[str]
    example: ClassVar[str]
    title: ClassVar[str]
    shared: ClassVar[bool]
    environment: ClassVar[tuple[str, ...]] = ()
    google_cloud: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def from_uri(cls, uri: str) -> Self:
        """Open the store at ``uri``, which begins with the class's scheme; raises ``UnsupportedStore`` for a malformed one."""

    @property
    def scratch(self) -> Path | None:
        """A folder for unfinished work from which ``put_file`` needs no copy; None where there is none."""
        return None

    def note_retries(self, note: Callable[[str], None]) -> None:
        """Pass a line of text on to ``note`` when a request is tried again; a store that tries nothing again has none."""
        del note

    @abstractmethod
    def check(self) -> str:
        """Contact the store and return a phrase on what may be done there, for ``slipway doctor``; leaves nothing behind.

        Raises:
            SlipwayError: It cannot be used; the hint says what to do. Nothing is tried twice.
        """
