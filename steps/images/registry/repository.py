"""A repository of a registry: manifests and blobs, in both directions, each compared with its digest.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md

A blob is uploaded in one request from a stream, after the registry said that it lacks it. Uploads in pieces are not used:
Google's Artifact Registry takes none. So what a broken connection cost is sent again, and a lost answer is noticed by
asking for the blob first.
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
from steps.images.registry.reference import Reference
from steps.images.registry.session import Session
from steps.net.http import Body
from steps.net.retry import TransientError

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# What Docker called the same things before there was a specification.
DOCKER = {
    "application/vnd.docker.distribution.manifest.list.v2+json": INDEX,
    "application/vnd.docker.distribution.manifest.v2+json": MANIFEST,
    "application/vnd.docker.container.image.v1+json": CONFIG,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": LAYER,
}
ACCEPT = ", ".join((MANIFEST, INDEX, *(docker for docker, oci in DOCKER.items() if oci in (MANIFEST, INDEX))))
T = TypeVar("T")
MAX_MANIFEST = 4 << 20  # bytes; the least that the specification has registries accept


@dataclass(frozen=True)
class Descriptor:
    """A blob by its digest (``sha256:…``), its size in bytes and its OCI media type."""

    media_type: str
    digest: str
    size: int

    def as_json(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Repository(AbstractContextManager["Repository"]):
    """One repository of a registry. Use as a context manager: it keeps connections open."""

    def __init__(
        self, reference: Reference, *, plain_http: Iterable[str], clock: Clock, tell: Callable[[str], None], push: bool = False
    ) -> None:
        self.host, self.name = reference.host, reference.repository
        self._session = Session(self.host, reference.api_host, self.name, plain_http=plain_http, clock=clock, tell=tell)
        self._rights = (f"repository:{self.name}:{'pull,push' if push else 'pull'}",)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._session.close()

    def manifest(self, asked: str) -> tuple[str, bytes]:
        """The media type, in OCI's words, and the bytes of the manifest or index under a tag or digest.

        Raises ``SourceNotFound``, or ``DigestMismatch`` where the bytes are not those of the digest asked for or told.
        """
        what = f"{self.host}/{self.name}, manifest {asked}"

        def get() -> tuple[str, bytes]:
            with self._session.exchange(
                "GET", self._path("manifests", asked), what=what, rights=self._rights, expect=(200,), headers={"Accept": ACCEPT}
            ) as response:
                data = b"".join(response.chunks(MAX_MANIFEST, too_long=Reason.DIGEST_MISMATCH))
                told = response.header("Docker-Content-Digest")
                for digest in (asked, told):
                    if digest.startswith("sha256:") and digest != digest_of(data):
                        raise TransientError(Reason.DIGEST_MISMATCH, f"{what} arrived as {digest_of(data)}, not {digest}.")
                kind = response.header("Content-Type").partition(";")[0].strip()
                return DOCKER.get(kind, kind), data

        return self._session.retrying(get)

    def retrying(self, work: Callable[[], T]) -> T:
        """Call ``work`` again while it raises ``TransientError``: for those who read ``blob`` themselves."""
        return self._session.retrying(work)

    def has(self, digest: str) -> bool:
        """Whether the repository holds this blob."""

        def ask() -> bool:
            what = f"{self.host}/{self.name}, blob {digest[:19]}"
            with self._session.exchange(
                "HEAD", self._path("blobs", digest), what=what, rights=self._rights, expect=(200, 404)
            ) as response:
                return response.status == 200

        return self._session.retrying(ask)

    def blob(self, blob: Descriptor) -> Iterator[bytes]:
        """A blob's bytes, compared with its digest and size; ``TransientError`` where the connection breaks."""
        what = f"{self.host}/{self.name}, blob {blob.digest[:19]}"
        with self._session.exchange(
            "GET", self._path("blobs", blob.digest), what=what, rights=self._rights, expect=(200,)
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
                raise TransientError(Reason.DIGEST_MISMATCH, error.message) from None  # on its way, perhaps: once more

    def read(self, blob: Descriptor, limit: int = MAX_MANIFEST) -> bytes:
        """A small blob, whole."""
        if blob.size > limit:
            raise SlipwayError(Reason.SOURCE_PROTOCOL, f"{self.host}/{self.name}: blob {blob.digest[:19]} is too large.")
        return self.retrying(lambda: b"".join(self.blob(blob)))

    def upload(self, blob: Descriptor, chunks: Callable[[], Iterable[bytes]], *, what: str, mount_from: str = "") -> int:
        """Put a blob unless it is there; returns the bytes that were sent.

        ``chunks`` begins its bytes anew for each try. With ``mount_from``, a repository of the same registry that has the
        blob, nothing is sent where the registry can take it from there.
        """
        text = f"{self.host}/{self.name}, {what}"
        rights = (*self._rights, f"repository:{mount_from}:pull") if mount_from else self._rights

        def put() -> int:
            if self.has(blob.digest):
                return 0
            query = urllib.parse.urlencode({"mount": blob.digest, "from": mount_from}) if mount_from else ""
            with self._session.exchange(
                "POST", self._path("blobs/uploads", "") + (query and f"?{query}"), what=text, rights=rights, expect=(201, 202)
            ) as response:
                if response.status == 201:
                    return 0
                location = response.header("Location")
            location += ("&" if "?" in location else "?") + urllib.parse.urlencode({"digest": blob.digest})
            body = Body(blob.size, lambda: verified_chunks(chunks(), sha256=blob.digest[7:], size=blob.size, what=what))
            with self._session.exchange(
                "PUT",
                location,
                what=text,
                rights=rights,
                expect=(201, 400, 404, 416),
                headers={"Content-Type": "application/octet-stream"},
                body=body,
            ) as response:
                if response.status in (404, 416):
                    raise self._session.busy(f"{text}: the registry no longer knows the upload ({response.status}).")
                if response.status == 400:
                    failure = self._session.failure(response, text, rights)
                    if "DIGEST_INVALID" in failure.message or "SIZE_INVALID" in failure.message:  # changed on its way
                        raise TransientError(Reason.DIGEST_MISMATCH, failure.message)
                    raise failure
                return blob.size

        return self._session.retrying(put)

    def push_manifest(self, tag: str, data: bytes) -> str:
        """Put an image's manifest under a tag and return its digest, after reading it back under that digest."""
        what = f"{self.host}/{self.name}:{tag}, manifest"
        digest = digest_of(data)

        def put() -> None:
            with self._session.exchange(
                "PUT",
                self._path("manifests", tag),
                what=what,
                rights=self._rights,
                expect=(201,),
                headers={"Content-Type": MANIFEST},
                body=Body(len(data), lambda: [data]),
            ):
                pass

        self._session.retrying(put)
        self.manifest(digest)
        return digest

    def _path(self, kind: str, last: str) -> str:
        return f"/v2/{self.name}/{kind}/{last}"
