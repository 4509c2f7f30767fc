"""Names of images: ``HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]``, with the usual abbreviations.

https://github.com/distribution/reference, whose rules Docker, Podman and Kubernetes share: a first part without a dot or
colon is not a host, and then the host is Docker Hub; a name of one part is there under ``library``.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Container
from dataclasses import dataclass

from steps.core.errors import Reason, SlipwayError
from steps.core.text import display_text

DOCKER_HUB = "docker.io"
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Reference:
    """An image's name in its full form. At least one of ``tag`` and ``digest`` is set."""

    host: str
    repository: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a name and complete it. Raises ``InvalidInput`` for any other text."""
        rest, _, digest = text.partition("@")
        head, slash, tail = rest.rpartition("/")
        last, colon, tag = tail.partition(":")
        name = head + slash + last
        host, slash, repository = name.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            host, repository = DOCKER_HUB, name if slash else f"library/{name}"
        sound = _HOST.fullmatch(host) and _REPOSITORY.fullmatch(repository)
        if not sound or (colon and not _TAG.fullmatch(tag)) or ("@" in text and not DIGEST.fullmatch(digest)):
            raise SlipwayError(
                Reason.INVALID_INPUT,
                f"{display_text(text)!r} is not the name of an image.",
                hint="Write HOST[:PORT]/REPOSITORY[:TAG][@sha256:…].",
            )
        return cls(host, repository, tag if colon or digest else "latest", digest)

    @property
    def identifier(self) -> str:
        """The digest, which cannot move, else the tag: what a manifest is requested by."""
        return self.digest or self.tag

    @property
    def api_host(self) -> str:
        """HOST[:PORT] of the registry's API; only Docker Hub's is not the host of the name."""
        return "registry-1.docker.io" if self.host == DOCKER_HUB else self.host

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def uses_plain_http(host: str, plain_http: Container[str]) -> bool:
    """Whether a registry is spoken to by HTTP instead of HTTPS: one of this machine, or one that the settings name."""
    name = host.partition(":")[0]
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(name).is_loopback:
            return True
    return name == "localhost" or host in plain_http
