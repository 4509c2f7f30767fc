"""Google Cloud Build on loopback: ``google.devtools.cloudbuild.v1.CloudBuild`` over gRPC with TLS, and builds that are made.

Google's own client talks to it. It wants a bearer token that the service account's key has signed, refuses what Cloud Build
refuses, takes the source from a Cloud Storage server by bucket, object and generation, replaces ``$NAME`` in arguments, and
runs the docker step through a ``Runner``: buildah for real, or one that a test brings. Then it pushes the images, writes the
log into the bucket and reports digests and provenance. What it does not know it refuses, so that no test passes on something
that was ignored.

    with CloudBuildServer(trust, storage=gcs.url, runner=runner) as server:
        server.faults.append(Fault("CreateBuild", Effect.LOSE))
        …
        server.work()   # makes the builds that are waiting; ``serve`` does so by itself

``python -m tests.servers.cloud_build_server --help`` runs it alone, for a cluster.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import re
import shutil
import sys
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import grpc
from google.auth import jwt
from google.cloud.devtools.cloudbuild_v1 import types
from google.longrunning.operations_pb2 import Operation
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from tests.servers.docker_build import BuildahRunner, Log, Runner, StepFailed, parse_docker
from tests.servers.trust import Trust

SERVICE = "google.devtools.cloudbuild.v1.CloudBuild"
DOCKER = "gcr.io/cloud-builders/docker"
Status = types.Build.Status
ACTIVE = (Status.PENDING, Status.QUEUED, Status.WORKING)
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
ACCOUNT = re.compile(r"projects/[^/]+/serviceAccounts/[^/]+")


class Effect(Enum):
    """What a fault does to the call that it hits."""

    ANSWER = auto()  # answer with the fault's code; nothing is done
    LOSE = auto()  # do it, then answer with the fault's code
    TWICE = auto()  # do it twice and answer once


@dataclass
class Fault:
    """Hits the next ``times`` calls of a method. ``reason`` is that of a google.rpc.ErrorInfo."""

    method: str
    effect: Effect = Effect.ANSWER
    code: str = "UNAVAILABLE"
    message: str = "This fault was requested."
    reason: str = ""
    times: int = 1


@dataclass
class Outcome:
    """How the next build ends instead of with an image."""

    status: Any
    detail: str = ""
    lines: tuple[str, ...] = ()


class CloudBuildServer:
    """The server and, for tests to look at, its ``builds`` in the order of creation and the ``calls`` so far."""

    def __init__(
        self,
        trust: Trust,
        *,
        storage: str,
        runner: Runner,
        project: str = "launch",
        default_logs: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        page_size: int = 2,
    ) -> None:
        self.builds: dict[str, Any] = {}
        self.calls: list[str] = []
        self.faults: list[Fault] = []
        self.outcomes: list[Outcome] = []
        self.list_delay = 0.0  # seconds after which the list knows a new build
        self.done: Callable[[str], None] = lambda method: None  # called when a call is done and not answered yet
        self._trust, self._storage, self._runner, self._project = trust, storage.rstrip("/"), runner, project
        self._default_logs, self._now, self._page_size = default_logs, now, page_size
        self._lock = threading.RLock()
        self._grpc = grpc.server(ThreadPoolExecutor(8))
        methods = {
            "CreateBuild": (self._create, types.CreateBuildRequest, Operation.SerializeToString),
            "GetBuild": (self._get, types.GetBuildRequest, types.Build.serialize),
            "ListBuilds": (self._list, types.ListBuildsRequest, types.ListBuildsResponse.serialize),
            "CancelBuild": (self._cancel, types.CancelBuildRequest, types.Build.serialize),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._guarded(name, function), request.deserialize, answer)
            for name, (function, request, answer) in methods.items()
        }
        self._grpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        pair = (trust.key.read_bytes(), trust.certificate.read_bytes())
        self.port = self._grpc.add_secure_port(f"{host}:{port}", grpc.ssl_server_credentials([pair]))
        self.endpoint = f"{host}:{self.port}"

    def __enter__(self) -> CloudBuildServer:
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(None).wait()

    @property
    def active(self) -> list[Any]:
        return [build for build in self.builds.values() if build.status in ACTIVE]

    def of(self, status: Any) -> list[Any]:
        return [build for build in self.builds.values() if build.status == status]

    # The API.

    def _guarded(self, name: str, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def call(request: Any, context: Any) -> Any:
            self._authenticate(context)
            with self._lock:
                self.calls.append(name)
                fault = next((each for each in self.faults if each.times > 0 and each.method == name), None)
                if fault:
                    fault.times -= 1
                if fault and fault.effect is Effect.ANSWER:
                    _abort(context, fault.code, fault.message, fault.reason)
                answer = function(request, context)
                if fault and fault.effect is Effect.TWICE:
                    function(request, context)
                self.done(name)
                if fault and fault.effect is Effect.LOSE:
                    _abort(context, fault.code, fault.message)
                return answer

        return call

    def _authenticate(self, context: Any) -> None:
        token = dict(context.invocation_metadata()).get("authorization", "")
        try:
            claims = jwt.decode(token.removeprefix("Bearer "), certs=self._trust.public_key)
        except Exception as error:  # whatever is wrong with it
            _abort(context, "UNAUTHENTICATED", f"Request had invalid authentication credentials: {type(error).__name__}.")
        if claims.get("scope") != "https://www.googleapis.com/auth/cloud-platform" and "aud" not in claims:
            _abort(context, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")

    def _create(self, request: Any, context: Any) -> Operation:
        build = types.Build.deserialize(types.Build.serialize(request.build))
        self._check_parent(request.parent, request.project_id, context)
        try:
            _validate(build, request.parent)
            for step in build.steps:
                step.args = [self._substituted(argument, build) for argument in step.args]
        except ValueError as error:
            _abort(context, "INVALID_ARGUMENT", f"invalid build: {error}")
        build.id = str(uuid.uuid4())
        build.name = f"{request.parent}/builds/{build.id}"
        build.project_id = self._project
        build.status = Status.QUEUED
        build.create_time = self._now() + timedelta(microseconds=len(self.builds))
        build.log_url = f"https://console.cloud.google.com/cloud-build/builds/{build.id}?project={self._project}"
        mode = types.BuildOptions.LoggingMode
        if not build.logs_bucket and build.options.logging in (mode.LEGACY, mode.LOGGING_UNSPECIFIED):
            build.logs_bucket = self._default_logs
        self.builds[build.id] = build
        metadata = AnyMessage()
        metadata.Pack(types.BuildOperationMetadata.pb(types.BuildOperationMetadata(build=build)))
        name = f"operations/build/{self._project}/{base64.b64encode(build.id.encode()).decode()}"
        return Operation(name=name, metadata=metadata)

    def _get(self, request: Any, context: Any) -> Any:
        build = self.builds.get(request.id)
        if build is None or build.name != request.name or request.project_id != self._project:
            _abort(context, "NOT_FOUND", "Requested entity was not found.")
        return build

    def _list(self, request: Any, context: Any) -> Any:
        self._check_parent(request.parent, request.project_id, context)
        match = re.fullmatch(r'tags="([^"]*)"', request.filter)
        if not match:
            _abort(context, "INVALID_ARGUMENT", f"This server knows no filter {request.filter!r}.")
        known = self._now() - timedelta(seconds=self.list_delay - 0.001)  # two of one moment are a microsecond apart
        found = [
            build
            for build in reversed(self.builds.values())
            if match[1] in build.tags and build.name.startswith(f"{request.parent}/") and build.create_time <= known
        ]
        start = int(request.page_token or 0)
        end = start + min(self._page_size, request.page_size or self._page_size)
        return types.ListBuildsResponse(builds=found[start:end], next_page_token=str(end) if end < len(found) else "")

    def _cancel(self, request: Any, context: Any) -> Any:
        build = self._get(request, context)
        if build.status not in ACTIVE:
            _abort(context, "FAILED_PRECONDITION", "cannot cancel a build that has ended")
        self._end(build, Status.CANCELLED)
        return build

    def _check_parent(self, parent: str, project: str, context: Any) -> None:
        if project != self._project or not re.fullmatch(rf"projects/{re.escape(self._project)}/locations/[a-z0-9-]+", parent):
            _abort(context, "NOT_FOUND", f"There is no {parent}.")

    def _substituted(self, text: str, build: Any) -> str:
        known = {"PROJECT_ID": self._project, **build.substitutions}

        def value(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            name = match[1] or match[2]
            if name not in known and build.options.substitution_option == types.BuildOptions.SubstitutionOption.MUST_MATCH:
                raise ValueError(f'key in the template "{name}" is not a valid built-in substitution')
            return str(known.get(name, ""))

        return re.sub(r"\$\$|\$([A-Za-z_][A-Za-z0-9_]*)|\$\{([A-Za-z_][A-Za-z0-9_]*)\}", value, text)

    # The worker.

    def work(self) -> None:
        """Make all builds that are waiting, here and now."""
        for build in list(self.builds.values()):
            with self._lock:
                if build.status != Status.QUEUED:
                    continue
                build.status = Status.WORKING
                build.start_time = self._now()
                outcome = self.outcomes.pop(0) if self.outcomes else None
            self._make(build, outcome)

    def serve(self, stop: threading.Event) -> None:
        """Make builds as they come."""
        while not stop.wait(0.2):
            self.work()

    def _make(self, build: Any, outcome: Outcome | None) -> None:
        lines = [f'starting build "{build.id}"', "", "FETCHSOURCE"]
        images: list[Any] = []
        status, detail = Status.SUCCESS, ""
        kind = types.Build.FailureInfo.FailureType
        why = kind.FETCH_SOURCE_FAILED
        with tempfile.TemporaryDirectory() as folder:
            try:
                self._fetch(build, Path(folder), lines.append)
                why = kind.USER_BUILD_STEP
                lines.append("BUILD")
                if outcome:
                    lines += outcome.lines
                    status, detail = outcome.status, outcome.detail
                else:
                    for step in build.steps:
                        self._runner.build(parse_docker(list(step.args)), Path(folder), lines.append)
                    lines.append("PUSH")
                    why = kind.PUSH_FAILED
                    for image in build.images:
                        digest = self._runner.push(image, lines.append)
                        images.append(types.BuiltImage(name=image, digest=digest))
                        lines.append(f"{image}: digest: {digest}")
            except StepFailed as error:
                status, detail = Status.FAILURE, str(error)
        if status == Status.SUCCESS:
            lines.append("DONE")
        elif status in (Status.FAILURE, Status.TIMEOUT):
            build.failure_info = types.Build.FailureInfo(type_=why, detail=detail)
            lines += ["ERROR", f"ERROR: {detail}"]
        self._write_log(build, lines)
        with self._lock:
            if build.status == Status.WORKING:  # not cancelled meanwhile
                build.status_detail = detail
                build.results = types.Results(images=images)
                self._end(build, status)

    def _end(self, build: Any, status: Any) -> None:
        build.status = status
        build.finish_time = self._now()

    def _fetch(self, build: Any, folder: Path, log: Log) -> None:
        source = build.source.storage_source
        url = f"{self._storage}/download/storage/v1/b/{source.bucket}/o/{quote(source.object_, safe='')}"
        query = f"?alt=media&generation={source.generation}"
        try:
            with urlopen(url + query) as answer:
                data = answer.read()
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
                tar.extractall(folder, filter="data")
        except (HTTPError, tarfile.TarError) as error:
            log(f"could not fetch gs://{source.bucket}/{source.object_}#{source.generation}: {error}")
            raise StepFailed(f"could not resolve source: {error}") from None
        provenance = types.SourceProvenance(resolved_storage_source=source)
        wanted = types.Hash.HashType.SHA256
        if wanted in build.options.source_provenance_hash:
            found = types.Hash(type_=wanted, value=hashlib.sha256(data).digest())
            path = f"gs://{source.bucket}/{source.object_}#{source.generation}"
            provenance.file_hashes[path] = types.FileHashes(file_hash=[found])
        build.source_provenance = provenance

    def _write_log(self, build: Any, lines: list[str]) -> None:
        if not build.logs_bucket:
            return
        bucket, _, folder = build.logs_bucket.removeprefix("gs://").partition("/")
        name = f"{folder}/log-{build.id}.txt".lstrip("/")
        url = f"{self._storage}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
        text = "".join(f"{line}\n" for line in lines)
        with urlopen(Request(url, text.encode(), {"Content-Type": "text/plain"})) as answer:
            answer.read()


def _abort(context: Any, code: str, message: str, reason: str = "") -> NoReturn:
    """End the call as Google's services do: a status with, perhaps, an ErrorInfo."""
    status = status_pb2.Status(code=code_pb2.Code.Value(code), message=message)
    if reason:
        detail = AnyMessage()
        detail.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="googleapis.com"))
        status.details.append(detail)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("the call has ended")


def _validate(build: Any, parent: str) -> None:
    """What Cloud Build refuses, and what this server does not know. Raises ``ValueError``."""
    for tag in build.tags:
        if not TAG.fullmatch(tag):
            raise ValueError(f'invalid build tag "{tag}": must match format "^[\\\\w][\\\\w.-]{{0,127}}$"')
    if not build.steps:
        raise ValueError("build step must be provided")
    for step in build.steps:
        if step.name != DOCKER or step.entrypoint or step.script:
            raise ValueError(f"this server runs no step but {DOCKER}")
    if not build.source.storage_source.bucket or not build.source.storage_source.object_:
        raise ValueError("this server takes no source but that of a bucket")
    if build.service_account and not ACCOUNT.fullmatch(build.service_account):
        raise ValueError(f"invalid service account {build.service_account}")
    mode = types.BuildOptions.LoggingMode
    if build.service_account and not build.logs_bucket and build.options.logging not in (mode.CLOUD_LOGGING_ONLY, mode.NONE):
        raise ValueError(
            "if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', or (b) use "
            "either CLOUD_LOGGING_ONLY / NONE logging options"
        )
    pool = build.options.pool.name
    if pool and not pool.startswith(f"projects/{pool.split('/')[1]}/locations/{parent.split('/')[3]}/workerPools/"):
        raise ValueError("the worker pool is in another region than the build")
    if pool and (build.options.machine_type or build.options.disk_size_gb):
        raise ValueError("a build in a private pool has the pool's machine and disk")
    if build.options.disk_size_gb > 4000:
        raise ValueError("disk size must be at most 4000 GB")
    if not 0 < build.timeout.total_seconds() <= 86400:
        raise ValueError("timeout must be at most 24 hours")


@contextmanager
def serving(server: CloudBuildServer) -> Iterator[None]:
    """The server with a worker beside it."""
    stop = threading.Event()
    worker = threading.Thread(target=server.serve, args=(stop,), daemon=True)
    with server:
        worker.start()
        try:
            yield
        finally:
            stop.set()
            worker.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at, also the certificate's name")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--storage", required=True, metavar="URL", help="Cloud Storage server, as STORAGE_EMULATOR_HOST")
    parser.add_argument("--project", default="launch")
    parser.add_argument("--default-logs", default="", metavar="gs://BUCKET", help="for builds that name no bucket for logs")
    parser.add_argument("--plain-http", action="append", default=[], metavar="HOST:PORT", help="registry without TLS")
    parser.add_argument("--buildah-flag", action="append", default=[], help="more arguments for `buildah build`")
    parser.add_argument("--trust", required=True, metavar="FOLDER", help="gets certificate.pem, key.pem, credentials.json")
    parser.add_argument("--list-delay", type=float, default=0.0, metavar="SECONDS")
    for flag, what in (
        ("lose-create", "make the build and lose the answer"),
        ("quota", "refuse to create because the quota is exhausted"),
        ("create-twice", "make two builds of one call"),
        ("fail", "let builds fail in their step"),
        ("time-out", "let builds run into their timeout"),
    ):
        parser.add_argument(f"--{flag}", type=int, default=0, metavar="TIMES", help=what)
    given = parser.parse_args()
    if not shutil.which("buildah"):
        sys.exit("buildah is not installed")
    server = CloudBuildServer(
        Trust.make(Path(given.trust), given.project, given.host),
        storage=given.storage,
        runner=BuildahRunner(tuple(given.plain_http), tuple(given.buildah_flag)),
        project=given.project,
        default_logs=given.default_logs,
        host=given.host,
        port=given.port,
        page_size=50,
    )
    server.list_delay = given.list_delay
    server.faults = [
        Fault("CreateBuild", Effect.LOSE, times=given.lose_create),
        Fault("CreateBuild", code="RESOURCE_EXHAUSTED", message="Quota exceeded: concurrent builds.", times=given.quota),
        Fault("CreateBuild", Effect.TWICE, times=given.create_twice),
    ]
    server.outcomes = [Outcome(Status.FAILURE, "build step 0 failed", ("This fault was requested.",))] * given.fail
    server.outcomes += [Outcome(Status.TIMEOUT, "build exceeded its timeout")] * given.time_out
    with serving(server):
        print(f"serving at {server.endpoint}", flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
