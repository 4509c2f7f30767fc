"""An OCI registry on loopback, strict where others are lenient, and the images and wheels that tests feed it with.

It speaks the distribution specification as far as pushing and pulling need it: every blob and manifest is compared with its
digest, an upload's address is good once and carries a secret, a manifest is refused while anything that it names is missing
from its repository, and a repository holds only what was uploaded or mounted into it. ``received`` counts the bytes that
arrived, so that a test can say what a change cost. What it does not know it refuses.

    with OciRegistry(auth="bearer", users={"ada": "secret"}) as registry:
        registry.faults.append(Fault("PUT", "/uploads/", status=503))

https://github.com/opencontainers/distribution-spec/blob/main/spec.md, https://distribution.github.io/distribution/spec/auth/
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import secrets
import tarfile
import threading
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
STATE = "state-of-an-upload"  # the beginning of the secret in an upload's address


class Effect(Enum):
    """What a fault does to the request that it hits."""

    ANSWER = auto()  # answer with the fault's status; nothing is done
    DROP = auto()  # cut the connection, having read a part of the body; nothing is done
    LOSE = auto()  # do it, then cut the connection: half-way through a download, before any answer otherwise
    CORRUPT = auto()  # change a byte on its way, in whichever direction data goes


@dataclass
class Fault:
    """Hits the next ``times`` requests with this method (empty: any) whose path and query match the regular expression.

    The first ``skip`` of them are let through before.
    """

    method: str
    path: str
    effect: Effect = Effect.ANSWER
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    skip: int = 0


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, status: int, code: str, headers: dict[str, str] | None = None, message: str = "no") -> None:
        super().__init__(code)
        body = {"errors": [{"code": code, "message": message}]}
        self.answer = Answer(status, json.dumps(body).encode(), headers or {})


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class OciRegistry:
    """The server and, for tests to look at, its state."""

    def __init__(
        self,
        *,
        auth: Literal["", "basic", "bearer"] = "",
        users: dict[str, str] | None = None,
        redirects: bool = False,
        mounts: bool = True,
        pieces: bool = False,
    ) -> None:
        self.auth, self.users, self.redirects, self.mounts = auth, users or {}, redirects, mounts
        self.pieces: dict[str, bytes] | None = {} if pieces else None  # buildah sends chunks; Artifact Registry refuses them
        self.blobs: dict[str, dict[str, bytes]] = {}  # repository: digest: content
        self.manifests: dict[str, dict[str, tuple[str, bytes]]] = {}  # repository: tag or digest: type and content
        self.uploads: dict[str, str] = {}  # secret: repository
        self.tokens: dict[str, set[str]] = {}  # token: the rights that it has
        self.refresh_tokens: dict[str, str] = {}  # identity token: user
        self.token_seconds = 300
        self.location = "/v2/{repository}/blobs/uploads/session?_state={secret}"  # of an upload
        self.moved = False  # whether uploads begin at another address, by 307
        self.manifest_type = ""  # with which manifests are served, whatever they are
        self.challenge = 'Bearer realm="{realm}",service="tests",scope="{scope}"'
        self.requests: list[tuple[str, str]] = []
        self.received = 0  # bytes of bodies
        self.faults: list[Fault] = []
        self.lock = threading.RLock()
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._http.registry = self
        self.realm = f"http://{self.host}/token"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> OciRegistry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def put_image(self, name: str, layers: list[bytes], config: dict[str, Any], *, platforms: tuple[str, ...] = ()) -> str:
        """An image ``REPOSITORY:TAG`` of compressed tar files; returns the digest of its manifest.

        With ``platforms`` the tag leads to an index with an image for each; the digest is that of the first one's manifest.
        """
        repository, tag = name.split(":")
        blobs, manifests = self.blobs.setdefault(repository, {}), self.manifests.setdefault(repository, {})
        made = []
        for platform in platforms or ("linux/amd64",):
            system, _, architecture = platform.partition("/")
            diff_ids = [digest_of(gzip.decompress(layer)) for layer in layers]
            about = {"os": system, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": diff_ids}, **config}
            data = json.dumps(about).encode()
            for blob in (data, *layers):
                blobs[digest_of(blob)] = blob
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor("application/vnd.oci.image.config.v1+json", data),
                "layers": [descriptor(LAYER, layer) for layer in layers],
            }
            made.append((platform, json.dumps(manifest).encode()))
            manifests[digest_of(made[-1][1])] = (MANIFEST, made[-1][1])
        top = (MANIFEST, made[0][1])
        if platforms:
            entries = [
                {**descriptor(MANIFEST, data), "platform": dict(zip(("os", "architecture"), platform.split("/"), strict=True))}
                for platform, data in made
            ]
            top = (INDEX, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode())
        manifests[tag] = manifests[digest_of(top[1])] = top
        return digest_of(made[0][1])

    def image(self, name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The image ``REPOSITORY:TAG``: the manifest's digest, the manifest, the configuration."""
        repository, tag = name.split(":")
        data = self.manifests[repository][tag][1]
        manifest = json.loads(data)
        return digest_of(data), manifest, json.loads(self.blobs[repository][manifest["config"]["digest"]])

    def files(self, name: str, layer: int) -> dict[str, tarfile.TarInfo]:
        """The entries of one layer of an image, by path."""
        repository, _ = name.split(":")
        data = self.blobs[repository][self.image(name)[1]["layers"][layer]["digest"]]
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            return {member.name: member for member in tar}

    # The API

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/token":
            return self._token(method, parse_qs(parts.query), headers, parse_qs(body.decode()))
        if parts.path.startswith("/storage/"):
            return self._storage(parts.path, query, headers)
        if parts.path == "/v2/":
            self._check(headers, None, "")
            return Answer(200, b"{}")
        match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs|blobs/uploads)/([^/]*)", parts.path)
        if not match:
            raise Refused(404, "UNSUPPORTED")
        repository, kind, last = match.groups()
        self._check(headers, repository, "pull" if method in ("GET", "HEAD") else "pull,push")
        match (method, kind):
            case ("GET" | "HEAD", "manifests"):
                return self._get_manifest(repository, last, headers)
            case ("PUT", "manifests"):
                return self._put_manifest(repository, last, headers, body)
            case ("GET" | "HEAD", "blobs"):
                return self._get_blob(method, repository, last)
            case ("POST", "blobs/uploads"):
                return self._begin(repository, query, headers)
            case ("PUT", "blobs/uploads"):
                return self._finish(repository, last, query, headers, body)
            case ("DELETE", "blobs/uploads"):
                if self.uploads.pop(query.get("_state", ""), None) != repository:
                    raise Refused(404, "BLOB_UPLOAD_UNKNOWN")
                return Answer(204)
            case ("PATCH", "blobs/uploads") if self.pieces is not None:
                self.pieces[query["_state"]] = self.pieces.get(query["_state"], b"") + body
                return Answer(202, headers={"Location": path, "Range": f"0-{len(self.pieces[query['_state']]) - 1}"})
        raise Refused(405, "UNSUPPORTED")

    def _get_manifest(self, repository: str, identifier: str, headers: dict[str, str]) -> Answer:
        kind, data = self.manifests.get(repository, {}).get(identifier, ("", b""))
        if not data or kind not in headers.get("accept", ""):
            raise Refused(404, "MANIFEST_UNKNOWN")
        return Answer(200, data, {"Content-Type": self.manifest_type or kind, "Docker-Content-Digest": digest_of(data)})

    def _put_manifest(self, repository: str, tag: str, headers: dict[str, str], body: bytes) -> Answer:
        try:
            manifest = json.loads(body)
            if headers.get("content-type") != MANIFEST or manifest["mediaType"] != MANIFEST:
                raise ValueError
            named = [manifest["config"], *manifest["layers"]]
            sizes = {blob["digest"]: blob["size"] for blob in named}
        except (ValueError, LookupError, TypeError):
            raise Refused(400, "MANIFEST_INVALID") from None
        held = self.blobs.get(repository, {})
        if any(digest not in held or len(held[digest]) != size for digest, size in sizes.items()):
            raise Refused(400, "MANIFEST_BLOB_UNKNOWN")
        manifests = self.manifests.setdefault(repository, {})
        manifests[tag] = manifests[digest_of(body)] = (MANIFEST, body)
        return Answer(201, headers={"Docker-Content-Digest": digest_of(body), "Location": f"/v2/{repository}/manifests/{tag}"})

    def _get_blob(self, method: str, repository: str, digest: str) -> Answer:
        data = self.blobs.get(repository, {}).get(digest)
        if data is None:
            raise Refused(404, "BLOB_UNKNOWN")
        if self.redirects and method == "GET":  # to another origin, whose secret is in the address
            address = f"http://localhost:{self.port}/storage/{repository}/{digest}?signature={STATE}"
            return Answer(307, headers={"Location": address})
        return Answer(200, data, {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest})

    def _storage(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if "authorization" in headers or query != {"signature": STATE}:
            raise Refused(400, "UNSUPPORTED")
        _, _, repository = path.partition("/storage/")
        repository, _, digest = repository.rpartition("/")
        return Answer(200, self.blobs[repository][digest])

    def _begin(self, repository: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        if source := query.get("from"):
            self._check(headers, source, "pull")
            data = self.blobs.get(source, {}).get(query["mount"])
            if data is not None and self.mounts:
                self.blobs.setdefault(repository, {})[query["mount"]] = data
                return Answer(201, headers={"Location": f"/v2/{repository}/blobs/{query['mount']}"})
        if self.moved and "moved" not in query:
            return Answer(307, headers={"Location": f"/v2/{repository}/blobs/uploads/?moved=1"})
        secret = f"{STATE}-{secrets.token_hex(8)}"
        self.uploads[secret] = repository
        return Answer(202, headers={"Location": self.location.format(repository=repository, secret=secret, port=self.port)})

    def _finish(self, repository: str, last: str, query: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:
        if last != "session" or self.uploads.pop(query.get("_state", ""), None) != repository:
            raise Refused(404, "BLOB_UPLOAD_UNKNOWN")
        if headers.get("content-type") != "application/octet-stream" or set(query) != {"_state", "digest"}:
            raise Refused(400, "BLOB_UPLOAD_INVALID")
        body = (self.pieces or {}).pop(query["_state"], b"") + body
        if digest_of(body) != query["digest"]:
            raise Refused(400, "DIGEST_INVALID")
        self.blobs.setdefault(repository, {})[query["digest"]] = body
        return Answer(201, headers={"Location": f"/v2/{repository}/blobs/{query['digest']}"})

    # Who may do what

    def _check(self, headers: dict[str, str], repository: str | None, rights: str) -> None:
        given = headers.get("authorization", "")
        if self.auth == "basic" and self._user(given) is None:
            raise Refused(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="tests"'})
        if self.auth == "bearer":
            has = self.tokens.get(given.removeprefix("Bearer "), set())
            needed = {f"{repository}:{right}" for right in rights.split(",")} if repository else set()
            if not given.startswith("Bearer ") or not needed <= has:
                challenge = self.challenge.format(realm=self.realm, scope=f"repository:{repository}:{rights}")
                message = f"the token {given} has no such right"  # as a careless registry would say it
                raise Refused(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge}, message)

    def _user(self, given: str) -> str | None:
        if not given.startswith("Basic "):
            return None
        name, _, password = base64.b64decode(given[6:]).decode().partition(":")
        return name if name in self.users and self.users[name] == password else None

    def _token(self, method: str, query: dict[str, list[str]], headers: dict[str, str], form: dict[str, list[str]]) -> Answer:
        if method == "POST":
            user = self.refresh_tokens.get(form.get("refresh_token", [""])[0])
            query = form
        else:
            user = self._user(headers.get("authorization", ""))
            if "authorization" in headers and user is None:
                raise Refused(401, "UNAUTHORIZED")
        if query.get("service") != ["tests"]:
            raise Refused(400, "UNSUPPORTED")
        rights = set()
        for scope in " ".join(query["scope"]).split():
            _, repository, wanted = scope.split(":")
            rights |= {f"{repository}:{right}" for right in wanted.split(",") if user or right == "pull"}
        token = f"token-{secrets.token_hex(8)}"
        self.tokens[token] = rights
        return Answer(200, json.dumps({"token": token, "expires_in": self.token_seconds}).encode())


class _Server(ThreadingHTTPServer):
    registry: OciRegistry
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report nothing: these tests cut connections."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        registry = self.server.registry
        headers = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        size = int(headers.get("content-length", 0))
        fault = self._fault()
        if fault and fault.effect is Effect.DROP:
            self.rfile.read(size // 2)
            self._cut()
            return
        body = self._pieces() if headers.get("transfer-encoding") == "chunked" else self.rfile.read(size)
        if fault and fault.effect is Effect.CORRUPT and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        with registry.lock:
            registry.requests.append((self.command, self.path))
            registry.received += len(body)
            try:
                if fault and fault.effect is Effect.ANSWER:
                    raise Refused(fault.status, "UNAVAILABLE", fault.headers)
                answer = registry.answer(self.command, self.path, headers, body)
            except Refused as refused:
                answer = refused.answer
        data = answer.body
        if fault and fault.effect is Effect.CORRUPT and data and not body:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if fault and fault.effect is Effect.LOSE and (not data or self.command != "GET"):
            self._cut()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            if fault and fault.effect is Effect.LOSE:
                self.wfile.write(data[: len(data) // 2])
                self._cut()
                return
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _pieces(self) -> bytes:
        """A body of chunks, each after its length in hex (RFC 9112, 7.1)."""
        found = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _fault(self) -> Fault | None:
        with self.server.registry.lock:
            for fault in self.server.registry.faults:
                if fault.times > 0 and fault.method in ("", self.command) and re.search(fault.path, self.path):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()


def descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def layer_of(files: dict[str, str]) -> bytes:
    """A compressed tar file of texts."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(out.getvalue(), mtime=0)
