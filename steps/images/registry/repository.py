"""A repository of a registry: manifests and blobs, in both directions, each compared with its digest.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md

A blob is uploaded in one request from a stream, if the registry does not have it. Chunked uploads are not used: Google's
Artifact Registry does not support them. So after a broken connection a blob is sent again from its beginning, and a lost
answer is noticed by looking for the blob first.
"""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

from steps.core.clock import Clock
from steps.core.digest import verified_chunks
from steps.core.errors import Reason, SlipwayError
from steps.core.json_reader import read_object
from steps.core.text import display_text
from steps.images.registry.reference import Reference
from steps.images.registry.session import Session
from steps.net.http import Body
from steps.net.retry import TransientError

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# Docker's media types from before the specification, and those of OCI for the same.
DOCKER_TYPES = {
    "application/vnd.docker.distribution.manifest.list.v2+json": INDEX,
    "application/vnd.docker.distribution.manifest.v2+json": MANIFEST,
    "application/vnd.docker.container.image.v1+json": CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
}
ACCEPT = ", ".join((MANIFEST, INDEX, *(docker for docker, oci in DOCKER_TYPES.items() if oci in (MANIFEST, INDEX))))
T = TypeVar("T")
MAX_MANIFEST = 4 << 20  # bytes; every registry must accept that much


@dataclass(frozen=True)
class Descriptor:
    """A blob by its digest (``sha256:…``), its size in bytes and its OCI media type."""

    media_type: str
    digest: str
    size: int

    def as_json(self) -> dict[str, object]:
        """The descriptor as a field of a manifest."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def digest_of(data: bytes) -> str:
    """The digest, ``sha256:…``, of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _media_type(header: str, data: bytes, what: str) -> str:
    """The OCI media type of a manifest or index: as the header names it, else as the document itself does.

    Servers of plain files and some mirrors name ``application/json`` or ``text/plain`` for each. A document without a
    ``mediaType`` is told by its fields (https://github.com/opencontainers/image-spec/blob/main/manifest.md).
    """
    kind = header.partition(";")[0].strip().lower()
    kind = DOCKER_TYPES.get(kind, kind)
    if kind in (INDEX, MANIFEST):
        return kind
    try:
        document = read_object(data)
    except ValueError:
        document = {}
    if document:
        named = document.get("mediaType")
        kind = DOCKER_TYPES.get(named, named) if isinstance(named, str) else ""
        if kind in (INDEX, MANIFEST):
            return kind
        if not kind and isinstance(document.get("manifests"), list):
            return INDEX
        if not kind and isinstance(document.get("config"), dict) and isinstance(document.get("layers"), list):
            return MANIFEST
    raise SlipwayError(
        Reason.SOURCE_PROTOCOL,
        f"{what} is neither an image's manifest nor an index, but {display_text(kind or header or 'of no media type', 100)}.",
        hint="Check the image's name; a proxy's or a login's page may stand in its place.",
    )


class Repository(AbstractContextManager["Repository"]):
    """One repository of a registry; a context manager, which closes its connections."""

    def __init__(
        self, reference: Reference, *, plain_http: Iterable[str], clock: Clock, note: Callable[[str], None], push: bool = False
    ) -> None:
        """Open the repository of ``reference``; nothing is sent yet.

        Args:
            reference: names the registry and the repository.
            plain_http: registries, as HOST:PORT, that are spoken to by HTTP.
            clock: measures and waits.
            note: gets a line for each request that is tried again.
            push: whether the repository will be written to.
        """
        self.host, self.name = reference.host, reference.repository
        self._session = Session(self.host, reference.api_host, self.name, plain_http=plain_http, clock=clock, note=note)
        self._scopes = (f"repository:{self.name}:{'pull,push' if push else 'pull'}",)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session.close()

    def manifest(self, identifier: str) -> tuple[str, bytes]:
        """The OCI media type and the bytes of the manifest or index with this tag or digest.

        Raises:
            SlipwayError: ``SourceNotFound``; ``DigestMismatch`` where the bytes have another digest than the one requested or
                named by the registry; what ``Session.exchange`` raises.
        """
        what = f"{self.host}/{self.name}, manifest {identifier}"

        def get() -> tuple[str, bytes]:
            with self._session.exchange(
                "GET",
                self._path("manifests", identifier),
                what=what,
                scopes=self._scopes,
                expect=(200,),
                headers={"Accept": ACCEPT},
            ) as response:
                data = b"".join(response.chunks(MAX_MANIFEST, too_long=Reason.DIGEST_MISMATCH))
                for digest in (identifier, response.header("Docker-Content-Digest")):
                    if digest.startswith("sha256:") and digest != digest_of(data):
                        raise TransientError(Reason.DIGEST_MISMATCH, f"{what} arrived as {digest_of(data)}, not {digest}.")
                return _media_type(response.header("Content-Type"), data, what), data

        return self._session.retry(get)

    def retry(self, work: Callable[[], T]) -> T:
        """Call ``work``, which reads a ``blob``, again while it raises ``TransientError``, a few times."""
        return self._session.retry(work)

    def has(self, digest: str) -> bool:
        """Whether the repository has this blob."""

        def look() -> bool:
            what = f"{self.host}/{self.name}, blob {digest[:19]}"
            with self._session.exchange(
                "HEAD", self._path("blobs", digest), what=what, scopes=self._scopes, expect=(200, 404)
            ) as response:
                return response.status == 200

        return self._session.retry(look)

    def blob(self, blob: Descriptor) -> Iterator[bytes]:
        """A blob's bytes, compared with its digest and size. Raises ``TransientError`` for others and a broken connection."""
        what = f"{self.host}/{self.name}, blob {blob.digest[:19]}"
        with self._session.exchange(
            "GET", self._path("blobs", blob.digest), what=what, scopes=self._scopes, expect=(200,)
        ) as response:
            try:
                yield from verified_chunks(
                    response.chunks(blob.size, too_long=Reason.DIGEST_MISMATCH),
                    sha256=blob.digest[7:],
                    size=blob.size,
                    what=what,
                )
            except SlipwayError as error:
                if error.reason is not Reason.DIGEST_MISMATCH:
                    raise
                raise TransientError(Reason.DIGEST_MISMATCH, error.message) from None  # the connection may have changed it

    def read(self, blob: Descriptor, limit: int = MAX_MANIFEST) -> bytes:
        """A blob of at most ``limit`` bytes. Raises ``SourceProtocol`` for a larger one."""
        if blob.size > limit:
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{self.host}/{self.name}: blob {blob.digest[:19]} is too large.")
        return self.retry(lambda: b"".join(self.blob(blob)))

    def upload(self, blob: Descriptor, chunks: Callable[[], Iterable[bytes]], *, what: str, mount_from: str = "") -> int:
        """Upload a blob unless the repository has it.

        Args:
            blob: its digest and size.
            chunks: starts the blob's bytes anew for each try.
            what: names the blob in messages.
            mount_from: a repository of the same registry that has the blob: it is not sent where the registry can mount it.

        Returns:
            The bytes that were sent.
        """
        text = f"{self.host}/{self.name}, {what}"
        scopes = (*self._scopes, f"repository:{mount_from}:pull") if mount_from else self._scopes

        def put() -> int:
            if self.has(blob.digest):
                return 0
            query = urllib.parse.urlencode({"mount": blob.digest, "from": mount_from}) if mount_from else ""
            with self._session.exchange(
                "POST", self._path("blobs/uploads", "") + (query and f"?{query}"), what=text, scopes=scopes, expect=(201, 202)
            ) as response:
                if response.status == 201:
                    return 0
                location = response.header("Location")
                if not location:
                    raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{text}: the registry names no address for the upload.")
                location = self._session.resolve(location, response.address, text)
            location += ("&" if "?" in location else "?") + urllib.parse.urlencode({"digest": blob.digest})
            body = Body(blob.size, lambda: verified_chunks(chunks(), sha256=blob.digest[7:], size=blob.size, what=what))
            with self._session.exchange(
                "PUT",
                location,
                what=text,
                scopes=scopes,
                expect=(201, 400, 404, 416),
                headers={"Content-Type": "application/octet-stream"},
                body=body,
            ) as response:
                if response.status in (404, 416):
                    raise self._session.busy(f"{text}: the registry no longer knows the upload ({response.status}).")
                if response.status == 400:
                    failure = self._session.failure(response, text, scopes)
                    if "DIGEST_INVALID" in failure.message or "SIZE_INVALID" in failure.message:  # the connection changed it
                        raise TransientError(Reason.DIGEST_MISMATCH, failure.message)
                    raise failure
                return blob.size

        return self._session.retry(put)

    def push_manifest(self, tag: str, data: bytes) -> str:
        """Push an image's manifest with a tag and return its digest, after reading it back by that digest."""
        what = f"{self.host}/{self.name}:{tag}, manifest"
        digest = digest_of(data)

        def put() -> None:
            with self._session.exchange(
                "PUT",
                self._path("manifests", tag),
                what=what,
                scopes=self._scopes,
                expect=(201,),
                headers={"Content-Type": MANIFEST},
                body=Body(len(data), lambda: [data]),
            ):
                pass

        self._session.retry(put)
        self.manifest(digest)
        return digest

    def _path(self, kind: str, last: str) -> str:
        return f"/v2/{self.name}/{kind}/{last}"
