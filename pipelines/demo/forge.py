"""A small Git forge over HTTP on loopback: read-only, with Git LFS.

`make run` fetches its model from here, and the tests of the fetch step do too, so what they exercise is a real server and
the real protocols:

    GET  /NAME.git/info/refs?service=git-upload-pack   Git's smart HTTP protocol, versions 0 to 2 (gitprotocol-http(5))
    POST /NAME.git/git-upload-pack
    POST /NAME.git/info/lfs/objects/batch              Git LFS batch API (git-lfs, docs/api/batch.md), transfer "basic"
    GET  /NAME.git/lfs/objects/OID                     the object's bytes, whole or one range (RFC 9110, section 14)

Git's side is `git upload-pack` itself. It serves what ``repository.publish`` wrote into the same root.

The seam is ``ForgeHandler``: each route is one method that returns a ``Reply``, and a subclass given to ``Forge`` answers
otherwise. It has no TLS and no accounts: bind it to loopback.
"""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, ValidationError

from pipelines.demo.repository import GIT_ENVIRONMENT, NAME, bare_repository, lfs_object
from steps.core.digest import SHA256

LFS_MEDIA_TYPE = "application/vnd.git-lfs+json"

_ROUTE = re.compile(
    rf"/(?P<name>{NAME.pattern})\.git/"
    rf"(?P<route>info/refs|git-upload-pack|info/lfs/objects/batch|lfs/objects/(?P<oid>{SHA256.pattern}))"
)
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")
_GIT_PROTOCOL = re.compile(r"version=[0-2]")
_BODY_LIMIT = 16 << 20  # bytes; a batch of 100 000 objects or the wants of a fetch fit
_CHUNK = 64 << 10
_FRESH = {"Cache-Control": "no-cache, max-age=0, must-revalidate"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """An answer: without a Content-Length among its headers, the end of the connection ends it."""

    status: int
    headers: Mapping[str, str]
    body: Iterable[bytes] = ()


@dataclass
class Exchange:
    """A request that the forge got, in its order of arrival, and how many bytes of body it handed to the network for it."""

    method: str
    path: str
    range: str | None
    status: int = 0
    sent: int = 0


class _LfsObject(BaseModel):
    oid: str
    size: Annotated[int, Field(ge=0, strict=True)]


class _LfsBatch(BaseModel):
    operation: Literal["download", "upload"]
    objects: list[_LfsObject]
    transfers: list[str] = ["basic"]
    hash_algo: Literal["sha256"] = "sha256"


class Forge:
    """Serve the repositories ``root/NAME.git`` while the ``with`` block lasts; port 0 takes a free one.

    Leaving the block cuts open connections and waits for their threads. ``exchanges`` is the access log.
    """

    def __init__(
        self, root: Path, host: str = "127.0.0.1", port: int = 0, *, handler: type[ForgeHandler] | None = None
    ) -> None:
        self.root = root
        self.exchanges: list[Exchange] = []
        self._address = (host, port)
        self._handler = handler or ForgeHandler

    def __enter__(self) -> Self:
        self._server = ForgeServer(self._address, self._handler, self.root, self.exchanges)
        # The poll interval, in seconds, is what leaving the block waits for at most.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="forge")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.cut_connections()
        self._server.server_close()

    def url(self, name: str) -> str:
        """The address to clone the repository ``name`` from, inside the ``with`` block."""
        return f"{self._server.url}/{name}.git"


class ForgeServer(ThreadingHTTPServer):
    """A thread for each connection, all of them ended by ``cut_connections`` and ``server_close``."""

    daemon_threads = False  # so that server_close waits for them
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[ForgeHandler], root: Path, exchanges: list[Exchange]) -> None:
        self.root = root
        self.exchanges = exchanges
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    @property
    def url(self) -> str:
        """The address, without a path."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def server_bind(self) -> None:
        """Bind without a look-up of the host's name."""
        TCPServer.server_bind(self)  # HTTPServer's looks up the name of 127.0.0.1

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that it can be cut, and serve it in a thread."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection and close it."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """Wake the threads that wait for a client's next request, or for one that reads slowly."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what a handler raised, unless the client went away."""
        if not isinstance(sys.exception(), ConnectionError):  # a client that leaves is not an error
            _log.exception("The forge failed on a request of %s", client_address)


class ForgeHandler(BaseHTTPRequestHandler):
    """One connection. A subclass changes an answer by overriding the route's method, or ``answer`` for all of them."""

    server: ForgeServer
    exchange: Exchange
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60  # seconds without a byte from the client
    # Versions 0 and 1 refuse a commit that no branch names, unless told otherwise; version 2 never does.
    git_settings: ClassVar[tuple[str, ...]] = ("uploadpack.allowReachableSHA1InWant=true", "uploadpack.allowFilter=true")

    def do_GET(self) -> None:
        """Answer a GET request."""
        self._log_exchange()
        self.send(self.answer(b""))

    def do_POST(self) -> None:
        """Answer a POST request, or refuse its body."""
        self._log_exchange()
        body = self._read_body()
        if isinstance(body, Reply):
            self.close_connection = True  # what is left of the body would be taken for the next request
            self.send(body)
        else:
            self.send(self.answer(body))

    def answer(self, body: bytes) -> Reply:
        """Find the route of the request and its reply. ``body`` is a POST's, decoded."""
        path, _, query = self.path.partition("?")
        # The path is matched as it came, undecoded: nothing but names that publish can give gets through.
        match = _ROUTE.fullmatch(path)
        if not match or not (bare_repository(self.server.root, match["name"]) / "HEAD").is_file():
            return _message(HTTPStatus.NOT_FOUND, "There is no such repository here.")
        name = match["name"]
        match self.command, match["route"]:
            case "GET", "info/refs" if query == "service=git-upload-pack":
                return self.git_refs(name)
            case "GET", "info/refs":
                return _message(HTTPStatus.FORBIDDEN, "Only git-upload-pack is served: clone and fetch.")
            case "POST", "git-upload-pack":
                return self.git_upload_pack(name, body)
            case "POST", "info/lfs/objects/batch":
                return self.lfs_batch(name, body)
            case "GET", _ if match["oid"]:
                return self.lfs_object(name, match["oid"])
        return _message(HTTPStatus.METHOD_NOT_ALLOWED, f"{self.command} does not go here.")

    def git_refs(self, name: str) -> Reply:
        """What the repository has, in the protocol version that the client asks for."""
        advertised = b"".join(self._upload_pack(name, b"", "--advertise-refs"))
        service = b"# service=git-upload-pack\n"
        document = b"%04x%b0000%b" % (len(service) + 4, service, advertised)
        headers = {"Content-Type": "application/x-git-upload-pack-advertisement", **_FRESH}
        return Reply(HTTPStatus.OK, {**headers, "Content-Length": str(len(document))}, [document])

    def git_upload_pack(self, name: str, body: bytes) -> Reply:
        """A round of negotiation, or the pack."""
        headers = {"Content-Type": "application/x-git-upload-pack-result", **_FRESH}
        return Reply(HTTPStatus.OK, headers, self._upload_pack(name, body))

    def lfs_batch(self, name: str, body: bytes) -> Reply:
        """Say for each object where it is downloaded, or with 404 or 422 that it is not."""
        accepted = self.headers.get("Accept", "*/*")
        if LFS_MEDIA_TYPE not in accepted and "*/*" not in accepted:
            return _message(HTTPStatus.NOT_ACCEPTABLE, f"The Accept header needs to be {LFS_MEDIA_TYPE}.")
        try:
            batch = _LfsBatch.model_validate_json(body)
        except ValidationError as error:
            return _message(HTTPStatus.UNPROCESSABLE_ENTITY, f"Not a batch request: {error.errors()[0]['msg']}")
        if batch.operation == "upload":
            return _message(HTTPStatus.FORBIDDEN, "This forge is read-only.")
        if "basic" not in batch.transfers:
            return _message(HTTPStatus.UNPROCESSABLE_ENTITY, "Only the transfer adapter `basic` is here.")
        objects = [self.lfs_answer(name, wanted.oid, wanted.size) for wanted in batch.objects]
        return _document(HTTPStatus.OK, {"transfer": "basic", "objects": objects, "hash_algo": "sha256"})

    def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
        """A batch's answer for one object that the client thinks has ``size`` bytes."""
        answer: dict[str, Any] = {"oid": oid, "size": size}
        if not SHA256.fullmatch(oid):
            return answer | {"error": {"code": 422, "message": "The oid is not a SHA-256 in hex digits."}}
        path = lfs_object(bare_repository(self.server.root, name), oid)
        if not path.is_file():
            return answer | {"error": {"code": 404, "message": "Object does not exist."}}
        if path.stat().st_size != size:
            return answer | {"error": {"code": 422, "message": f"The object has {path.stat().st_size} bytes."}}
        href = f"{self.server.url}/{name}.git/lfs/objects/{oid}"
        return answer | {"authenticated": True, "actions": {"download": {"href": href}}}

    def lfs_object(self, name: str, oid: str) -> Reply:
        """The object's bytes: all of them, or the range that the client asks for."""
        path = lfs_object(bare_repository(self.server.root, name), oid)
        if not path.is_file():
            return _message(HTTPStatus.NOT_FOUND, "Object does not exist.")
        size, etag = path.stat().st_size, f'"{oid}"'
        span = requested_range(self.headers.get("Range"), size)
        if self.headers.get("If-Range", etag) != etag:
            span = None
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "ETag": etag}
        if span is None:
            return Reply(HTTPStatus.OK, {**headers, "Content-Length": str(size)}, _read(path, range(size)))
        if not span:
            headers = {**headers, "Content-Range": f"bytes */{size}", "Content-Length": "0"}
            return Reply(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers)
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
        return Reply(HTTPStatus.PARTIAL_CONTENT, {**headers, "Content-Length": str(len(span))}, _read(path, span))

    def send(self, reply: Reply) -> None:
        """Write the reply. An exception from its body cuts the connection."""
        self.exchange.status = reply.status
        self.send_response(reply.status)
        for header, value in reply.headers.items():
            self.send_header(header, value)
        if "Content-Length" not in reply.headers:
            self.send_header("Connection", "close")
        self.end_headers()
        for chunk in reply.body:
            # Counted before it is written: once a client has all bytes, the count says so too.
            self.exchange.sent += len(chunk)
            self.wfile.write(chunk)

    def log_message(self, format: str, *args: object) -> None:
        """Log a line of http.server at the level DEBUG."""
        _log.debug(format, *args)

    def _log_exchange(self) -> None:
        self.exchange = Exchange(self.command, self.path, self.headers.get("Range"))
        self.server.exchanges.append(self.exchange)

    def _read_body(self) -> bytes | Reply:
        """The request's body, unpacked: git sends longer ones with gzip."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,19}", length):
            return _message(HTTPStatus.LENGTH_REQUIRED, "Send a Content-Length.")
        if int(length) > _BODY_LIMIT:
            return _message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"At most {_BODY_LIMIT} bytes.")
        body = self.rfile.read(int(length))
        match self.headers.get("Content-Encoding", "identity"):
            case "identity":
                return body
            case "gzip" | "x-gzip":
                unpack = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
                with suppress(zlib.error):
                    body = unpack.decompress(body, _BODY_LIMIT)
                if unpack.eof:
                    return body
                return _message(HTTPStatus.BAD_REQUEST, "The body is not gzip, or too large.")
        return _message(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send gzip or no Content-Encoding.")

    def _upload_pack(self, name: str, body: bytes, *options: str) -> Iterator[bytes]:
        """Run `git upload-pack` on a request and pass on what it prints."""
        protocol = self.headers.get("Git-Protocol", "")
        environment = dict(GIT_ENVIRONMENT)
        if _GIT_PROTOCOL.fullmatch(protocol):
            environment["GIT_PROTOCOL"] = protocol
        argv = ["git", *(part for setting in self.git_settings for part in ("-c", setting))]
        argv += ["upload-pack", "--strict", "--stateless-rpc", *options, "--"]
        argv.append(str(bare_repository(self.server.root, name)))
        # A file rather than a pipe: git may answer before it has read everything, and two full pipes would wait for each other.
        with tempfile.TemporaryFile() as request:
            request.write(body)
            request.seek(0)
            with subprocess.Popen(
                argv, stdin=request, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
            ) as process:
                assert process.stdout is not None
                while chunk := process.stdout.read(_CHUNK):
                    yield chunk


def requested_range(header: str | None, size: int) -> range | None:
    """The bytes of ``size`` that a Range header asks for; empty: none can be given (416); None: send the whole.

    RFC 9110, 14.1.2 and 14.2: a header that is malformed, or asks for several ranges, may be ignored.
    """
    match = _RANGE.fullmatch(header or "")
    if not match or match.group(0) == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1 if last else size, size))


def _read(path: Path, span: range) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(span.start)
        left = len(span)
        while left and (chunk := file.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk


def _document(status: int, document: Mapping[str, Any]) -> Reply:
    body = json.dumps(document).encode()
    return Reply(status, {"Content-Type": LFS_MEDIA_TYPE, "Content-Length": str(len(body))}, [body])


def _message(status: int, message: str) -> Reply:
    return _document(status, {"message": message})
