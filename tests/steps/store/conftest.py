"""Each store with a way to see what it has left unfinished, and for those behind a network, how that fails."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from steps.core.store import Store
from steps.store.bucket import BucketStore
from steps.store.gcs import GcsPrefix
from steps.store.request_retry import TIMEOUT
from steps.store.supported import open_store
from tests.servers.faulty_server import Effect, Fault, FaultyServer
from tests.servers.gcs_server import GcsServer
from tests.servers.s3_server import S3Server


@dataclass
class Place:
    """A store's address, the store, and what is left of writes that did not end."""

    uri: str
    store: Store
    unfinished: Callable[[], list[object]]


@dataclass
class Remote(Place):
    """A store behind a server that fails as it is told. The requests are method and pattern of the path."""

    server: FaultyServer
    stored: Callable[[str], bytes | None]
    look: tuple[str, str]  # asks for an object's size and version
    download: tuple[str, str]
    begin: tuple[str, str]  # begins what takes several parts
    part: tuple[str, str]
    publish_one: tuple[str, str]  # what fits one part
    publish_many: tuple[str, str]

    def fails(self, request: tuple[str, str], effect: Effect = Effect.ANSWER, **more: Any) -> Fault:
        self.server.faults.append(fault := Fault(*request, effect, **more))
        return fault


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[GcsServer]:
    """A server with the empty bucket ``models``, which the official client finds by the environment."""
    with GcsServer("models") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which botocore finds credentials, and neither a person's files nor an instance's service."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return monkeypatch


@pytest.fixture
def s3(aws: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server with the empty bucket ``models``, which botocore finds by the environment."""
    with S3Server("models") as server:
        aws.setenv("AWS_ENDPOINT_URL_S3", server.url)
        yield server


@pytest.fixture
def moto(aws: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of moto's server, which botocore finds by the environment, with an empty bucket ``models``."""
    import botocore.session
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    # One request at a time: between looking at a condition and publishing, it takes no lock of its own.
    server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    aws.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
    client = botocore.session.get_session().create_client("s3")
    client.create_bucket(Bucket="models")
    yield client
    urllib.request.urlopen(f"{client.meta.endpoint_url}/moto-api/reset", data=b"").close()  # it keeps all for the process
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def place_in(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    prefix = "some/prefix"
    if kind == "local":
        uri, root = f"file://{tmp_path}/store", tmp_path / "store"
        return Place(uri, open_store(uri), lambda: list((root / "tmp").glob("*")))
    if kind == "fake-gcs-server":
        if not os.environ.get("STORAGE_EMULATOR_HOST"):
            pytest.skip("STORAGE_EMULATOR_HOST names no server")
        from tests.cluster.place import make_bucket

        make_bucket("slipway-contract")
        below = GcsPrefix("slipway-contract", secrets.token_hex(8))

        def delete_all() -> None:
            for each in below.objects():
                below.blob(each.name).delete(timeout=TIMEOUT, retry=None)

        request.addfinalizer(delete_all)
        return Place(below.uri, open_store(below.uri), list)  # it shows no sessions
    if kind == "moto":
        client = request.getfixturevalue("moto")
        uri = f"s3://models/{prefix}"
        return Place(uri, open_store(uri), lambda: client.list_multipart_uploads(Bucket="models").get("Uploads", []))
    return remote_in(kind, request)


def remote_in(kind: str, request: pytest.FixtureRequest) -> Remote:
    prefix = "some/prefix"
    server = request.getfixturevalue(kind)

    def opened(uri: str) -> Store:
        store = open_store(uri)
        assert isinstance(store, BucketStore)
        store.require_conditions()  # the first use is over: each fault is for what a test does
        return store

    def stored(key: str) -> bytes | None:
        found = server.buckets["models"].get(f"{prefix}/{key}")
        return found.data if found else None

    if kind == "gcs":
        uri = f"gs://models/{prefix}"
        send = ("PUT", "upload_id=")
        return Remote(
            uri,
            opened(uri),
            lambda: list(server.unfinished),
            server,
            stored,
            look=("GET", r"/o/[^/?]+\?proj"),
            download=("GET", "alt=media"),
            begin=("POST", "uploadType=resumable&?"),
            part=send,
            publish_one=send,
            publish_many=send,
        )
    uri = f"s3://models/{prefix}"
    return Remote(
        uri,
        opened(uri),
        lambda: list(server.uploads.values()),
        server,
        stored,
        look=("HEAD", prefix),
        download=("GET", prefix + "/"),
        begin=("POST", r"\?uploads"),
        part=("PUT", "partNumber=[12]"),
        publish_one=("PUT", prefix),
        publish_many=("POST", r"\?uploadId="),
    )


@pytest.fixture(
    params=[
        "local",
        "gcs",
        pytest.param("s3", marks=pytest.mark.slow),  # making a client takes botocore a quarter of a second
        pytest.param("moto", marks=pytest.mark.slow),
        pytest.param("fake-gcs-server", marks=(pytest.mark.cluster, pytest.mark.enable_socket)),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return place_in(request.param, request, tmp_path)


@pytest.fixture(params=["gcs", "s3"])
def remote(request: pytest.FixtureRequest) -> Remote:
    return remote_in(request.param, request)


@pytest.fixture
def store(place: Place) -> Store:
    return place.store
