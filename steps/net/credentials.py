"""Headers that belong to one origin: ``HttpClient`` sends them there and nowhere else, also after redirects.

Most are credentials. Where these are found is another matter, and that of the room that needs them: a registry's stand in
Docker's configuration, those of Git LFS come with the server's answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from steps.net.urls import origin_of


@dataclass(frozen=True)
class BoundHeaders:
    """Headers by their names, and the origin (scheme, host and port) that they belong to."""

    origin: str
    values: Mapping[str, str] = field(repr=False)

    @classmethod
    def authorization(cls, origin: str, value: str) -> BoundHeaders:
        """The one header ``Authorization`` (RFC 9110, section 11.6.2)."""
        return cls(origin, {"Authorization": value})

    def belongs_to(self, address: str) -> bool:
        """Whether scheme, host and port of an address are those of the headers."""
        return self.origin != "" and origin_of(address) == self.origin
