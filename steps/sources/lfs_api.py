"""Git LFS without its program: pointers, and the batch API.

Pointers: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md; the API: docs/api/batch.md there. The endpoint follows
from the repository's checked address alone (docs/api/server-discovery.md); ``.lfsconfig`` in the repository, which could
point anywhere, is not read.
"""

from __future__ import annotations

import contextlib
import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from steps.core.clock import Clock
from steps.core.errors import Reason, SlipwayError
from steps.core.json_reader import read_object
from steps.core.text import display_text
from steps.net.answers import MAX_SENTENCE, WEB_PAGE, answered, is_web_page
from steps.net.credentials import BoundHeaders
from steps.net.retry import SERVER_RETRIES, TransientError, is_transient, retry_messages
from steps.net.urls import Url, check_hop, host_of
from steps.sources.client import SourceClient
from steps.sources.download import RemoteObject
from steps.sources.lfs_actions import action_expiry, action_headers

MAX_POINTER = 1024  # bytes; a pointer is shorter by the specification
MEDIA_TYPE = "application/vnd.git-lfs+json"
WHAT = "The Git LFS batch request"
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

        Raises:
            SlipwayError: ``LfsUnavailable`` where the server has no LFS; ``LfsObjectMissing``, naming every file whose object
                is gone; ``AccessDenied``, ``SourceBusy``, ``SourceProtocol`` or ``NetworkUnreachable``, with the server's
                sentence.
        """
        found: dict[str, RemoteObject] = {}
        paths = sorted(wanted)
        for begin in range(0, len(paths), BATCH):
            found.update(self._locate({path: wanted[path] for path in paths[begin : begin + BATCH]}))
        return found

    def _locate(self, wanted: Mapping[str, Pointer]) -> dict[str, RemoteObject]:
        try:
            return SERVER_RETRIES.call(lambda: self._batch(wanted), clock=self._clock, notify=retry_messages(self._note))
        except _BatchTooLarge as error:
            if len(wanted) == 1:
                raise SlipwayError(Reason.SOURCE_PROTOCOL, error.message) from None
        paths = sorted(wanted)
        halves = paths[: len(paths) // 2], paths[len(paths) // 2 :]
        return {path: remote for half in halves for path, remote in self._locate({path: wanted[path] for path in half}).items()}

    def _batch(self, wanted: Mapping[str, Pointer]) -> dict[str, RemoteObject]:
        pointers = sorted(set(wanted.values()), key=lambda pointer: pointer.oid)
        body = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers],
        }
        asked = self._clock.now()
        response = self._http.request(
            "POST",
            replace(self._endpoint, path=f"{self._endpoint.path}/objects/batch"),
            headers={"Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE},
            body=json.dumps(body).encode(),
            what=WHAT,
        )
        with response:
            if response.status in (404, 405, 410, 501):
                said = answered(response, host_of(response.address))
                raise SlipwayError(Reason.LFS_UNAVAILABLE, f"There is no Git LFS server at {self._endpoint}: {said}.")
            if response.status == 413:
                raise _BatchTooLarge(Reason.TOO_LARGE, f"{WHAT}: {answered(response, host_of(response.address))}.")
            if response.status != 200:
                raise self._http.failure(response, WHAT)
            text = response.read(MAX_ANSWER)
            wait = response.retry_after(asked)
        try:
            answer = read_object(text)
        except ValueError:
            page = is_web_page(response, text)
            raise self._broken(f"its answer is {WEB_PAGE}" if page else "its answer is not a JSON object") from None
        listed = answer.get("objects")
        if not isinstance(listed, list):
            raise self._broken("its answer has no list of objects")
        for name, only in (("transfer", "basic"), ("hash_algo", "sha256")):
            if answer.get(name) not in (None, "", only):
                raise self._broken(f"it answers with {name} {display_text(answer[name], 40)!r} where {only} was requested")
        objects = {str(entry.get("oid")): entry for entry in listed if isinstance(entry, dict)}
        self._refuse_errors({path: objects.get(pointer.oid) for path, pointer in wanted.items()}, wait)
        return {
            path: self._remote(path, pointer, objects.get(pointer.oid), response.address, asked)
            for path, pointer in wanted.items()
        }

    def _refuse_errors(self, entries: Mapping[str, dict[str, object] | None], wait: float | None) -> None:
        """Raise the failure for the errors of single objects (docs/api/batch.md, "Object errors"), those that last first."""
        errors = {path: error for path, entry in entries.items() if (error := _error_of(entry)) is not None}
        missing = [path for path, (code, _) in errors.items() if code in (404, 410)]
        if missing:
            raise SlipwayError(
                Reason.LFS_OBJECT_MISSING,
                f"The LFS server has no object for {', '.join(missing)}, although the repository points to it.",
            )
        for path, (code, message) in sorted(errors.items(), key=lambda each: is_transient(each[1][0])):
            text = f"{path}: the Git LFS server at {self._endpoint} answers {code}{f' ({message})' if message else ''}."
            if is_transient(code):
                raise TransientError(Reason.SOURCE_BUSY, text, wait)
            if code in (401, 403):
                raise SlipwayError(Reason.ACCESS_DENIED, text)
            raise SlipwayError(Reason.SOURCE_PROTOCOL, text)

    def _remote(
        self, path: str, pointer: Pointer, entry: Mapping[str, object] | None, address: str, asked: datetime
    ) -> RemoteObject:
        if entry is None or entry.get("size") != pointer.size:
            raise self._broken(f"its answer does not hold {path} with {pointer.size} bytes")
        actions = entry.get("actions")
        download = actions.get("download") if isinstance(actions, dict) else None
        href = download.get("href") if isinstance(download, dict) else None
        if not isinstance(download, dict) or not isinstance(href, str) or not href:
            raise self._broken(f"its answer has no download address for {path}")
        with contextlib.suppress(ValueError):  # a broken address is for check_hop to refuse
            href = urllib.parse.urljoin(address, href)
        url = check_hop(href, self._repository)
        headers = action_headers(download.get("header"))
        if headers is None:
            raise self._broken(f"its answer has malformed headers for {path}")
        return RemoteObject(
            sha256=pointer.oid,
            size=pointer.size,
            url=url,
            headers=BoundHeaders(url.origin, headers) if headers else None,
            what=path,
            refresh=lambda: self._locate({path: pointer})[path],
            expires=action_expiry(download, asked),
        )

    def _broken(self, why: str) -> SlipwayError:
        return SlipwayError(
            Reason.SOURCE_PROTOCOL, f"The Git LFS server at {self._endpoint} does not follow the protocol: {why}."
        )


class _BatchTooLarge(SlipwayError):
    """The server takes fewer objects in one request."""


def _error_of(entry: Mapping[str, object] | None) -> tuple[int, str] | None:
    """Code and message of an object's error; None for an object without one. A code that is no number counts as 500."""
    error = entry.get("error") if entry else None
    if not isinstance(error, dict):
        return None
    code = error.get("code")
    if isinstance(code, str) and re.fullmatch("[0-9]{3}", code):
        code = int(code)
    message = error.get("message")
    sentence = display_text(" ".join(message.split()), MAX_SENTENCE).rstrip(".") if isinstance(message, str) else ""
    return code if isinstance(code, int) and not isinstance(code, bool) else 500, sentence
