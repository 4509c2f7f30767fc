"""Git LFS without its program: pointers, and the batch API.

Pointers: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md; the API: docs/api/batch.md there. The endpoint follows
from the repository's checked address alone (docs/api/server-discovery.md); ``.lfsconfig`` in the repository, which could
point anywhere, is not read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.net.credentials import Authorization
from steps.net.http import HTTP_RETRIES
from steps.net.retry import retry_messages
from steps.net.urls import Url, check_hop
from steps.sources.client import SourceClient
from steps.sources.download import RemoteObject

MAX_POINTER = 1024  # bytes; a pointer is shorter by the specification
MEDIA_TYPE = "application/vnd.git-lfs+json"
BATCH = 100  # objects in one request; the usual servers' limit
MAX_ANSWER = 16 << 20
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>0|[1-9][0-9]{0,17})\n"
)
_VERSION = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Pointer:
    """The entry in Git for an LFS object: its SHA-256 in hex and its size in bytes."""

    oid: str
    size: int


def parse_pointer(content: bytes, path: str) -> Pointer | None:
    """The pointer, or None when the content is something else. Raises ``SourceProtocol`` for a malformed one."""
    if not is_pointer(content):
        return None
    match = _POINTER.fullmatch(content)
    if match is None:
        raise SlipwayError(
            Reason.SOURCE_PROTOCOL,
            f"{path} is a Git LFS pointer that does not follow the specification (version 1, no extensions).",
            hint="Commit the file again with a current git-lfs.",
        )
    return Pointer(match["oid"].decode(), int(match["size"]))


def is_pointer(content: bytes) -> bool:
    """Whether the content is a pointer, well-formed or not, and no file that a model could need."""
    return content.startswith(_VERSION) and len(content) < MAX_POINTER


def endpoint(repository: Url) -> Url:
    """The LFS server of a repository: ``<address>.git/info/lfs``."""
    path = repository.path if repository.path.endswith(".git") else f"{repository.path}.git"
    return Url(repository.scheme, repository.host, repository.port, f"{path}/info/lfs")


class LfsClient:
    """The LFS server of one repository, as the source of addresses of objects."""

    def __init__(self, repository: Url, http: SourceClient, clock: Clock, note: Callable[[str], None]) -> None:
        self._repository, self._http, self._clock, self._note = repository, http, clock, note
        self._endpoint = endpoint(repository)

    def locate(self, wanted: Mapping[str, Pointer]) -> dict[str, RemoteObject]:
        """Addresses of objects; ``wanted`` maps paths to pointers, the result has the same paths.

        Raises ``LfsUnavailable`` where the server has no LFS, ``LfsObjectMissing`` naming every file whose object is gone.
        """
        found: dict[str, RemoteObject] = {}
        paths = sorted(wanted)
        for begin in range(0, len(paths), BATCH):
            part = {path: wanted[path] for path in paths[begin : begin + BATCH]}
            found.update(self._locate(part))
        return found

    def _locate(self, wanted: Mapping[str, Pointer]) -> dict[str, RemoteObject]:
        answer = HTTP_RETRIES.call(
            lambda: self._batch(set(wanted.values())), clock=self._clock, notify=retry_messages(self._note)
        )
        objects = {str(entry.get("oid")): entry for entry in _entries(answer)}
        missing = [path for path, pointer in wanted.items() if _error_code(objects.get(pointer.oid)) in (404, 410)]
        if missing:
            raise SlipwayError(
                Reason.LFS_OBJECT_MISSING,
                f"The LFS server has no object for {', '.join(missing)}, although the repository points to it.",
            )
        return {path: self._remote(path, pointer, objects.get(pointer.oid)) for path, pointer in wanted.items()}

    def _remote(self, path: str, pointer: Pointer, entry: Mapping[str, object] | None) -> RemoteObject:
        if entry is None or entry.get("size") != pointer.size:
            raise self._broken(f"its answer does not hold {path} with {pointer.size} bytes")
        if (code := _error_code(entry)) is not None:
            raise self._broken(f"it answers {code} for {path}")
        actions = entry.get("actions")
        download = actions.get("download") if isinstance(actions, dict) else None
        href = download.get("href") if isinstance(download, dict) else None
        if not isinstance(download, dict) or not isinstance(href, str):
            raise self._broken(f"its answer has no download address for {path}")
        url = check_hop(href, self._repository)
        header = download.get("header") or {}
        if not isinstance(header, dict):
            raise self._broken(f"its answer has malformed headers for {path}")
        credential = header.get("Authorization") or header.get("authorization")
        # Credentials go to the origin that gave them, and nowhere else.
        authorization = Authorization(self._endpoint.origin, credential) if isinstance(credential, str) and credential else None
        return RemoteObject(
            sha256=pointer.oid,
            size=pointer.size,
            url=url,
            authorization=authorization,
            what=path,
            refresh=lambda: self._locate({path: pointer})[path],
        )

    def _batch(self, pointers: Iterable[Pointer]) -> object:
        body = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in sorted(pointers, key=lambda p: p.oid)],
        }
        response = self._http.request(
            "POST",
            Url(self._endpoint.scheme, self._endpoint.host, self._endpoint.port, f"{self._endpoint.path}/objects/batch"),
            headers={"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE},
            body=json.dumps(body).encode(),
            what="The Git LFS batch request",
        )
        with response:
            if response.status in (404, 405, 410, 501):
                raise SlipwayError(Reason.LFS_UNAVAILABLE, f"There is no Git LFS server at {self._endpoint}.")
            text = response.read(MAX_ANSWER)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self._broken("its answer is not JSON") from None

    def _broken(self, why: str) -> SlipwayError:
        return SlipwayError(
            Reason.SOURCE_PROTOCOL, f"The Git LFS server at {self._endpoint} does not follow the protocol: {why}."
        )


def _entries(answer: object) -> list[dict[str, object]]:
    objects = answer.get("objects") if isinstance(answer, dict) else None
    return [entry for entry in objects if isinstance(entry, dict)] if isinstance(objects, list) else []


def _error_code(entry: Mapping[str, object] | None) -> int | None:
    error = entry.get("error") if entry else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else None
