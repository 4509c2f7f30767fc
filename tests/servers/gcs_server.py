"""A Google Cloud Storage JSON API on loopback, strict where other stand-ins are lenient.

The official client talks to it through ``STORAGE_EMULATOR_HOST``. It keeps what the store depends on: generations that
only grow, ``ifGenerationMatch`` checked when an upload begins and again when it ends, resumable sessions that publish
nothing before their last byte, checksums that are computed here and refused where the declared ones differ, listings in
small pages. What it does not know it refuses with 400, so that no test passes on a condition that was ignored.

    with GcsServer("models") as server:
        server.faults.append(Fault("GET", "/o/", status=503, times=2))
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)

https://cloud.google.com/storage/docs/json_api/v1 and https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import google_crc32c

from tests.servers.faulty_server import Answer, Effect, Fault, FaultyServer, changed

QUANTUM = 256 * 1024  # every part of a resumable upload but the last is a multiple of this
ANYWHERE = {"alt", "fields", "prettyPrint", "projection"}  # parameters that change the answer's form only


@dataclass(frozen=True)
class Stored:
    data: bytes
    generation: int
    content_type: str

    @property
    def crc32c(self) -> str:
        return base64.b64encode(google_crc32c.value(self.data).to_bytes(4, "big")).decode()

    @property
    def md5(self) -> str:
        return base64.b64encode(hashlib.md5(self.data, usedforsecurity=False).digest()).decode()


@dataclass
class Session:
    """A resumable upload: invisible until ``done``."""

    bucket: str
    metadata: dict[str, str]
    conditions: dict[str, str]
    data: bytearray = field(default_factory=bytearray)
    done: dict[str, Any] | None = None


class Refused(Exception):
    def __init__(self, status: int, message: str, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {
                "code": status,
                "message": message,
                "errors": [{"message": message, "domain": "global", "reason": reason}],
            }
        }


class GcsServer(FaultyServer):
    """The server and, for tests to look at, its state: ``buckets`` and unfinished ``sessions``."""

    def __init__(self, *buckets: str, page_size: int = 3, conditions: bool = True) -> None:
        super().__init__()
        self.conditions = conditions  # whether it heeds ifGenerationMatch, as not every emulator does
        self.buckets: dict[str, dict[str, Stored]] = {name: {} for name in buckets}
        self.sessions: dict[str, Session] = {}
        self.page_size = page_size
        self._generation = 1_700_000_000_000_000

    @property
    def unfinished(self) -> list[Session]:
        return [session for session in self.sessions.values() if session.done is None]

    def store(self, bucket: str, name: str, data: bytes, content_type: str = "application/octet-stream") -> Stored:
        with self.lock:
            self._generation += 1
            self.buckets[bucket][name] = Stored(data, self._generation, content_type)
            return self.buckets[bucket][name]

    def fails(self, method: str, path: str, fault: Fault) -> Answer:
        return self._refusal(path, Refused(fault.status, "This fault was asked for.", fault.code or "backendError"))

    def answer(self, method: str, path: str, headers: Any, body: bytes, effect: Effect | None) -> Answer:
        try:
            return self._answer(method, path, headers, body, effect)
        except Refused as refused:
            return self._refusal(path, refused)

    @staticmethod
    def _refusal(path: str, refused: Refused) -> Answer:
        # As the real one: where data was asked for, the sentence comes without the JSON around it.
        if "alt=media" in path:
            return Answer(refused.status, str(refused).encode())
        return _json(refused.body, refused.status)

    def _answer(self, method: str, path: str, headers: Any, body: bytes, effect: Effect | None) -> Answer:
        url = urlsplit(path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        if path.startswith("/upload/"):
            match = re.fullmatch(r"/upload/storage/v1/b/([^/]+)/o", url.path)
            if match and "upload_id" in query and method in ("PUT", "DELETE"):
                return self._session(method, query, headers, body, effect)
            if match and method == "POST":
                return self._upload(unquote(match[1]), query, headers, body, effect)
        elif match := re.fullmatch(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)", url.path):
            bucket, name = unquote(match[1]), unquote(match[2])
            if method == "GET" and query.get("alt") == "media":
                return self._download(bucket, name, query, headers)
            if method == "GET":
                return self._metadata(bucket, name, query)
            if method == "DELETE":
                return self._delete(bucket, name, query)
        elif match := re.fullmatch(r"/storage/v1/b/([^/]+)(/o)?", url.path):
            if method == "GET" and match[2]:
                return self._list(unquote(match[1]), query)
            if method == "GET":
                self._objects(unquote(match[1]))
                return _json({"kind": "storage#bucket", "name": unquote(match[1])})
        raise Refused(404, f"Not Found: {method} {url.path}", "notFound")

    def _objects(self, bucket: str) -> dict[str, Stored]:
        if bucket not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.", "notFound")
        return self.buckets[bucket]

    def _find(self, bucket: str, name: str, query: dict[str, str]) -> Stored:
        _only(query, {"generation", "ifGenerationMatch"})
        found = self._objects(bucket).get(name)
        if found is None or query.get("generation", str(found.generation)) != str(found.generation):
            raise Refused(404, f"No such object: {bucket}/{name}", "notFound")
        self._check(bucket, name, query)
        return found

    def _check(self, bucket: str, name: str, query: dict[str, str]) -> None:
        found = self._objects(bucket).get(name)
        if self.conditions and query.get("ifGenerationMatch", str(found.generation if found else 0)) != str(
            found.generation if found else 0
        ):
            raise Refused(412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")

    def _resource(self, bucket: str, name: str) -> dict[str, str]:
        found = self.buckets[bucket][name]
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": name,
            "generation": str(found.generation),
            "metageneration": "1",
            "contentType": found.content_type,
            "size": str(len(found.data)),
            "crc32c": found.crc32c,
            "md5Hash": found.md5,
        }

    def _metadata(self, bucket: str, name: str, query: dict[str, str]) -> Answer:
        self._find(bucket, name, query)
        return _json(_fields(self._resource(bucket, name), query.get("fields")))

    def _delete(self, bucket: str, name: str, query: dict[str, str]) -> Answer:
        self._find(bucket, name, query)
        del self.buckets[bucket][name]
        return Answer(204)

    def _list(self, bucket: str, query: dict[str, str]) -> Answer:
        _only(query, {"prefix", "pageToken", "maxResults"})
        # A page goes on after the name that its token encodes; names are sorted by their UTF-8 bytes.
        after = base64.b64decode(query.get("pageToken", "")).decode()
        names = sorted(name for name in self._objects(bucket) if name.startswith(query.get("prefix", "")))
        names = [name for name in names if name > after]
        page = names[: min(self.page_size, int(query.get("maxResults", self.page_size)))]
        wanted = re.search(r"items\((.*?)\)", query.get("fields", ""))
        items = [_fields(self._resource(bucket, name), wanted[1] if wanted else None) for name in page]
        answer: dict[str, Any] = {"kind": "storage#objects", "items": items}
        if len(page) < len(names):
            answer["nextPageToken"] = base64.b64encode(page[-1].encode()).decode()
        return _json(answer)

    def _download(self, bucket: str, name: str, query: dict[str, str], headers: Any) -> Answer:
        found = self._find(bucket, name, query)
        sent = {
            "Content-Type": found.content_type,
            "ETag": f'"{found.md5}"',
            "X-Goog-Generation": str(found.generation),
            "X-Goog-Metageneration": "1",
            "X-Goog-Hash": f"crc32c={found.crc32c},md5={found.md5}",
            "X-Goog-Stored-Content-Encoding": "identity",
            "X-Goog-Stored-Content-Length": str(len(found.data)),
        }
        if "Range" not in headers:
            return Answer(200, found.data, sent)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", headers["Range"])
        if not match:
            raise Refused(400, f"This server knows no range {headers['Range']}.", "invalid")
        start, end = int(match[1]), min(int(match[2] or len(found.data)), len(found.data) - 1)
        if start > end:
            raise Refused(416, "The requested range cannot be satisfied.", "requestedRangeNotSatisfiable")
        sent["Content-Range"] = f"bytes {start}-{end}/{len(found.data)}"
        return Answer(206, found.data[start : end + 1], sent)

    def _upload(self, bucket: str, query: dict[str, str], headers: Any, body: bytes, effect: Effect | None) -> Answer:
        _only(query, {"uploadType", "name", "ifGenerationMatch"})
        metadata: dict[str, str] = {"contentType": headers.get("Content-Type", "")}
        if query.get("uploadType") == "multipart":
            described, body = _multipart(headers["Content-Type"], body)
            metadata |= described
        elif query.get("uploadType") == "resumable":
            metadata |= {"contentType": headers.get("X-Upload-Content-Type", "")} | json.loads(body or b"{}")
        elif query.get("uploadType") != "media":
            raise Refused(400, "Bad uploadType.", "invalid")
        name = metadata.setdefault("name", query.get("name", ""))
        if not name:
            raise Refused(400, "Required object name is missing.", "required")
        self._check(bucket, name, query)
        if query["uploadType"] != "resumable":
            return _json(self._commit(Session(bucket, metadata, query, bytearray(body)), headers, effect))
        session = secrets.token_hex(16)
        self.sessions[session] = Session(bucket, metadata, query)
        return Answer(
            200, headers={"Location": f"{self.url}/upload/storage/v1/b/{bucket}/o?upload_id={session}&uploadType=resumable"}
        )

    def _session(self, method: str, query: dict[str, str], headers: Any, body: bytes, effect: Effect | None) -> Answer:
        _only(query, {"upload_id", "uploadType"})
        session = self.sessions.get(query["upload_id"])
        if session is None:
            raise Refused(404, "No such upload.", "notFound")
        if method == "DELETE":
            if session.done is None:
                del self.sessions[query["upload_id"]]
            return Answer(499)
        if session.done is not None:
            return _json(session.done)
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", headers.get("Content-Range", ""))
        if not match:
            raise Refused(400, "Content-Range is missing or malformed.", "invalid")
        total = None if match[3] == "*" else int(match[3])
        if match[1] is not None:
            start, end = int(match[1]), int(match[2])
            if end - start + 1 != len(body) or start > len(session.data):
                raise Refused(400, f"{len(body)} bytes do not fit {match[0]}, {len(session.data)} are here.", "invalid")
            if (total is None or end + 1 < total) and len(body) % QUANTUM:
                raise Refused(400, f"A part that is not the last is a multiple of {QUANTUM} bytes.", "invalid")
            new = body[len(session.data) - start :]  # what is here already is not taken again
            session.data += new[:QUANTUM] if effect is Effect.KEEP_A_PART else new
        if total != len(session.data):
            kept = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
            return Answer(308, headers=kept)
        try:
            session.done = self._commit(session, headers, effect)
        except Refused:
            del self.sessions[query["upload_id"]]
            raise
        return _json(session.done)

    def _commit(self, session: Session, headers: Any, effect: Effect | None) -> dict[str, str]:
        name, data = session.metadata["name"], bytes(session.data)
        self._check(session.bucket, name, session.conditions)
        declared = dict(part.split("=", 1) for part in headers.get("X-Goog-Hash", "").split(",") if part)
        computed = Stored(data, 0, "")
        for what, claims, is_ in (
            ("CRC32C", (declared.get("crc32c"), session.metadata.get("crc32c")), computed.crc32c),
            ("MD5", (declared.get("md5"), session.metadata.get("md5Hash")), computed.md5),
        ):
            for claim in claims:
                if claim not in (None, is_):
                    raise Refused(400, f'Provided {what} "{claim}" doesn\'t match calculated {what} "{is_}".', "invalid")
        self.store(session.bucket, name, changed(data) if effect is Effect.ROT else data, session.metadata["contentType"])
        return self._resource(session.bucket, name)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})


def _fields(resource: dict[str, str], fields: str | None) -> dict[str, str]:
    return {key: value for key, value in resource.items() if fields is None or key in fields.split(",")}


def _only(query: dict[str, str], known: set[str]) -> None:
    if unknown := set(query) - known - ANYWHERE:
        raise Refused(400, f"This server does not know {sorted(unknown)}.", "invalidParameter")


def _multipart(content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    """The two parts of a multipart/related upload: the object's metadata and its data."""
    match = re.fullmatch(r'multipart/related; boundary="?([^"]+)"?', content_type)
    parts = body.split(b"--" + match[1].encode()) if match else []
    if len(parts) != 4 or not parts[3].startswith(b"--"):
        raise Refused(400, "Malformed multipart body.", "badContent")
    described, data = (part.partition(b"\r\n\r\n")[2][:-2] for part in parts[1:3])
    return json.loads(described), data
