"""An S3 REST API on loopback, strict where other stand-ins are lenient.

botocore talks to it through ``AWS_ENDPOINT_URL_S3``. It keeps what the store depends on: conditions that are checked when
an object is published, ETags, checksums that are computed here and refused where the declared ones differ, multipart
uploads that publish nothing before they are completed, listings in pages. What it does not know it refuses with 501, so
that no test passes on a condition that was ignored.

    with S3Server("models") as server:
        server.faults.append(Fault("GET", "/weights", status=503, code="SlowDown", headers={"Retry-After": "1"}))

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from awscrt import checksums

from tests.servers.faulty_server import Answer, Effect, Fault, FaultyServer, changed

SMALLEST_PART = 5 << 20  # bytes; only the last may be smaller
SPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True)
class Stored:
    data: bytes
    etag: str
    checksum: str = ""  # where the writer gave one
    algorithm: str = "crc32c"
    kind: str = "FULL_OBJECT"
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class Part:
    data: bytes
    etag: str
    checksum: str


@dataclass
class Multipart:
    """An upload that is not completed: invisible."""

    bucket: str
    key: str
    metadata: dict[str, str]
    kind: str
    parts: dict[int, Part] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.status = status
        self.code = code


class S3Server(FaultyServer):
    """The server and, for tests to look at, its state: ``buckets`` and ``uploads`` that are not completed."""

    def __init__(self, *buckets: str, full_objects: bool = True, conditions: bool = True) -> None:
        super().__init__()
        self.conditions = conditions  # whether it heeds If-None-Match, as not every server does
        self.buckets: dict[str, dict[str, Stored]] = {name: {} for name in buckets}
        self.uploads: dict[str, Multipart] = {}
        self.full_objects = full_objects  # whether it knows checksums over all parts

    def store(self, bucket: str, key: str, data: bytes, **more: Any) -> Stored:
        with self.lock:
            self.buckets[bucket][key] = Stored(data, more.pop("etag", md5(data)), **more)
            return self.buckets[bucket][key]

    def fails(self, method: str, path: str, fault: Fault) -> Answer:
        return _refusal(method, Refused(fault.status, fault.code or "InternalError", "This fault was asked for."))

    def answer(self, method: str, path: str, headers: Any, body: bytes, effect: Effect | None) -> Answer:
        try:
            if not headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256 Credential="):
                raise Refused(403, "AccessDenied", "Anonymous requests are not taken.")
            url = urlsplit(path)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            bucket, _, key = unquote(url.path).lstrip("/").partition("/")
            if bucket not in self.buckets:
                raise Refused(404, "NoSuchBucket", "The specified bucket does not exist.")
            operation = (method, bool(key), *sorted(set(query) & {"list-type", "uploads", "uploadId", "partNumber"}))
            match operation:
                case ("HEAD", False):
                    return Answer(200)
                case ("GET", False, "list-type"):
                    return self._list(bucket, query)
                case ("HEAD" | "GET", True):
                    return self._read(method, bucket, key, query, headers)
                case ("PUT", True):
                    return self._put(bucket, key, query, headers, body, effect)
                case ("POST", True, "uploads"):
                    return self._begin(bucket, key, query, headers)
                case ("PUT", True, "partNumber", "uploadId"):
                    return self._part(query, headers, body)
                case ("POST", True, "uploadId"):
                    return self._complete(bucket, key, query, headers, body, effect)
                case ("DELETE", True):
                    self.buckets[bucket].pop(key, None)
                    return Answer(204)
                case ("DELETE", True, "uploadId"):
                    del self.uploads[self._known(query)]
                    return Answer(204)
            raise Refused(501, "NotImplemented", f"This server does not know {operation}.")
        except Refused as refused:
            return _refusal(method, refused)

    def _read(self, method: str, bucket: str, key: str, query: dict[str, str], headers: Any) -> Answer:
        _only(query, {})
        _known_headers(headers, {"if-match", "range", "x-amz-checksum-mode"})
        found = self.buckets[bucket].get(key)
        if found is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        if headers.get("If-Match", found.etag) != found.etag:
            raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
        sent = {"ETag": found.etag, "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        sent |= {f"x-amz-meta-{name}": value for name, value in found.metadata.items()}
        if "Range" not in headers:
            if headers.get("x-amz-checksum-mode") == "ENABLED" and found.checksum:
                sent |= {f"x-amz-checksum-{found.algorithm}": found.checksum, "x-amz-checksum-type": found.kind}
            return Answer(200, b"" if method == "HEAD" else found.data, sent | {"Content-Length": str(len(found.data))})
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers["Range"])
        if not match or int(match[1]) >= len(found.data):
            raise Refused(416, "InvalidRange", "The requested range is not satisfiable")
        start, end = int(match[1]), min(int(match[2]), len(found.data) - 1)
        sent["Content-Range"] = f"bytes {start}-{end}/{len(found.data)}"
        return Answer(206, found.data[start : end + 1], sent)

    def _put(self, bucket: str, key: str, query: dict[str, str], headers: Any, body: bytes, effect: Effect | None) -> Answer:
        _only(query, {})
        checksum = _checked(headers, body)
        self._condition(bucket, key, headers)
        found = self.store(
            bucket,
            key,
            changed(body) if effect is Effect.ROT else body,
            etag=md5(body),
            checksum=checksum,
            metadata=_metadata(headers),
        )
        return Answer(200, headers={"ETag": found.etag, "x-amz-checksum-crc32c": checksum})

    def _begin(self, bucket: str, key: str, query: dict[str, str], headers: Any) -> Answer:
        _only(query, {"uploads"})
        _known_headers(headers, {"x-amz-checksum-algorithm", "x-amz-checksum-type"})
        if headers.get("x-amz-checksum-algorithm") != "CRC32C":
            raise Refused(501, "NotImplemented", "This server wants CRC32C.")
        kind = headers.get("x-amz-checksum-type", "COMPOSITE") if self.full_objects else "COMPOSITE"
        name = secrets.token_urlsafe(24)
        self.uploads[name] = Multipart(bucket, key, _metadata(headers), kind)
        body = _xml("InitiateMultipartUploadResult", {"Bucket": bucket, "Key": key, "UploadId": name})
        more = {"x-amz-checksum-type": kind} if self.full_objects else {}
        return Answer(200, body, {"x-amz-checksum-algorithm": "CRC32C", **more})

    def _part(self, query: dict[str, str], headers: Any, body: bytes) -> Answer:
        _only(query, {"partNumber", "uploadId"})
        upload = self.uploads[self._known(query)]
        number = int(query["partNumber"])
        if not 1 <= number <= 10_000:
            raise Refused(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
        checksum = _checked(headers, body)
        if not checksum:
            raise Refused(400, "InvalidRequest", "The upload was created using the CRC32C checksum; parts must include it.")
        upload.parts[number] = Part(body, md5(body), checksum)
        return Answer(200, headers={"ETag": md5(body), "x-amz-checksum-crc32c": checksum})

    def _complete(
        self, bucket: str, key: str, query: dict[str, str], headers: Any, body: bytes, effect: Effect | None
    ) -> Answer:
        _only(query, {"uploadId"})
        _known_headers(headers, {"if-none-match", "x-amz-checksum-crc32c", "x-amz-checksum-type"})
        name = self._known(query)
        upload = self.uploads[name]
        named = [
            (
                int(part.findtext(f"{SPACE}PartNumber") or 0),
                part.findtext(f"{SPACE}ETag"),
                part.findtext(f"{SPACE}ChecksumCRC32C"),
            )
            for part in ElementTree.fromstring(body)
        ]
        if not named or [number for number, *_ in named] != sorted({number for number, *_ in named}):
            raise Refused(400, "InvalidPartOrder")
        parts = []
        for number, etag, checksum in named:
            part = upload.parts.get(number)
            if part is None or (part.etag, part.checksum) != (etag, checksum):
                raise Refused(400, "InvalidPart", f"Part {number} was not found or is another.")
            parts.append(part)
        if any(len(part.data) < SMALLEST_PART for part in parts[:-1]):
            raise Refused(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        data = b"".join(part.data for part in parts)
        checksum, declared = crc32c(data), headers.get("x-amz-checksum-crc32c")
        if upload.kind == "COMPOSITE":
            checksum = f"{crc32c(b''.join(base64.b64decode(part.checksum) for part in parts))}-{len(parts)}"
        if headers.get("x-amz-checksum-type", upload.kind) != upload.kind or declared not in (None, checksum):
            raise Refused(400, "BadDigest", "The CRC32C you specified did not match the calculated checksum.")
        self._condition(bucket, key, headers)
        etag = f'"{hashlib.md5(b"".join(bytes.fromhex(part.etag[1:-1]) for part in parts)).hexdigest()}-{len(parts)}"'
        stored = changed(data) if effect is Effect.ROT else data
        self.store(bucket, key, stored, etag=etag, checksum=checksum, kind=upload.kind, metadata=upload.metadata)
        del self.uploads[name]
        result = {"Bucket": bucket, "Key": key, "ETag": etag, "ChecksumCRC32C": checksum, "ChecksumType": upload.kind}
        return Answer(200, _xml("CompleteMultipartUploadResult", result))

    def _known(self, query: dict[str, str]) -> str:
        if query["uploadId"] not in self.uploads:
            raise Refused(404, "NoSuchUpload", "The specified upload does not exist.")
        return query["uploadId"]

    def _condition(self, bucket: str, key: str, headers: Any) -> None:
        if headers.get("If-None-Match", "*") != "*":
            raise Refused(501, "NotImplemented", "If-None-Match takes only *.")
        if self.conditions and "If-None-Match" in headers and key in self.buckets[bucket]:
            raise Refused(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")

    def _list(self, bucket: str, query: dict[str, str]) -> Answer:
        _only(query, {"list-type", "prefix", "continuation-token", "max-keys", "encoding-type"})
        after = base64.b64decode(query.get("continuation-token", "")).decode()
        names = sorted(name for name in self.buckets[bucket] if name.startswith(query.get("prefix", "")) and name > after)
        page = names[: min(1000, int(query.get("max-keys", 1000)))]
        write = quote if query.get("encoding-type") == "url" else escape
        contents = "".join(
            f"<Contents><Key>{write(name)}</Key><Size>{len(self.buckets[bucket][name].data)}</Size>"
            f"<ETag>{escape(self.buckets[bucket][name].etag)}</ETag></Contents>"
            for name in page
        )
        more = {"Name": bucket, "EncodingType": query.get("encoding-type", ""), "IsTruncated": "false"}
        if len(page) < len(names):
            more |= {"IsTruncated": "true", "NextContinuationToken": base64.b64encode(page[-1].encode()).decode()}
        return Answer(200, _xml("ListBucketResult", more, contents), {"Content-Type": "application/xml"})


def md5(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def crc32c(data: bytes) -> str:
    return base64.b64encode(checksums.crc32c(data).to_bytes(4, "big")).decode()


def _checked(headers: Any, body: bytes) -> str:
    """The declared checksum of a body that is as declared."""
    _known_headers(headers, {"if-none-match", "x-amz-checksum-crc32c", "x-amz-sdk-checksum-algorithm"})
    declared = headers.get("x-amz-checksum-crc32c", "")
    if declared and declared != crc32c(body):
        raise Refused(400, "BadDigest", "The CRC32C you specified did not match the calculated checksum.")
    hashed = headers.get("x-amz-content-sha256")
    if hashed not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
        raise Refused(400, "XAmzContentSHA256Mismatch", "The provided header does not match what was computed.")
    return str(declared)


def _metadata(headers: Any) -> dict[str, str]:
    return {
        name.lower()[len("x-amz-meta-") :]: value for name, value in headers.items() if name.lower().startswith("x-amz-meta-")
    }


def _only(query: dict[str, str], known: Any) -> None:
    if unknown := set(query) - set(known):
        raise Refused(501, "NotImplemented", f"This server does not know {sorted(unknown)}.")


def _known_headers(headers: Any, known: set[str]) -> None:
    """No condition and no checksum but those that are heeded."""
    given = {name.lower() for name in headers if re.match("(?i)if-|range$|x-amz-(?!meta-)", name)}
    if unknown := given - known - {"x-amz-date", "x-amz-content-sha256", "x-amz-security-token"}:
        raise Refused(501, "NotImplemented", f"This server does not know {sorted(unknown)}.")


def _refusal(method: str, refused: Refused) -> Answer:
    body = _xml("Error", {"Code": refused.code, "Message": str(refused)})
    return Answer(refused.status, b"" if method == "HEAD" else body, {"Content-Type": "application/xml"})


def _xml(name: str, fields: dict[str, str], more: str = "") -> bytes:
    inner = "".join(f"<{key}>{escape(value)}</{key}>" for key, value in fields.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><{name}>{inner}{more}</{name}>'.encode()
