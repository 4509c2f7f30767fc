"""Credentials of HTTP: each belongs to one origin, and ``HttpClient`` sends it there and nowhere else.

Where credentials are found is another matter, and that of the room that needs them: a registry's stand in Docker's
configuration, those of Git LFS come with the server's answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from steps.net.urls import origin_of


@dataclass(frozen=True)
class Authorization:
    """The value of an ``Authorization`` header (RFC 9110, section 11.6.2), and the origin that it belongs to."""

    origin: str
    value: str = field(repr=False)

    def belongs_to(self, address: str) -> bool:
        """Whether scheme, host and port of an address are those of the credential."""
        return self.origin != "" and origin_of(address) == self.origin
