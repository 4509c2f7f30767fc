"""A server that lets a second writer overwrite the first is found at the first use of a bucket, and by a check of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.store.base import StoreBackend
from steps.store.bucket import FIRST_WRITER
from steps.store.supported import open_store
from tests.servers.faulty_server import Fault, FaultyServer
from tests.servers.gcs_server import GcsServer
from tests.servers.s3_server import S3Server

pytestmark = pytest.mark.slow  # making a client takes botocore a quarter of a second


@pytest.fixture(params=["s3", "gs"])
def lax(request: pytest.FixtureRequest, aws: pytest.MonkeyPatch) -> Iterator[tuple[StoreBackend, FaultyServer]]:
    """A store in a server that ignores the condition, and the server."""
    server = S3Server("models", conditions=False) if request.param == "s3" else GcsServer("models", conditions=False)
    with server:
        aws.setenv("AWS_ENDPOINT_URL_S3" if request.param == "s3" else "STORAGE_EMULATOR_HOST", server.url)
        store = open_store(f"{request.param}://models/a")
        yield store, server


@pytest.mark.fault("refused")
def test_a_lax_server_is_found_at_first_use(lax: tuple[StoreBackend, FaultyServer]) -> None:
    store, _ = lax
    for use in (lambda: store.put("k", [b"x"]), store.check):
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason is Reason.UNSUPPORTED_STORE
        assert store.uri in caught.value.message
        assert "conditional writes" in caught.value.hint
    assert list(store.list("")) == []


@pytest.mark.fault("refused")
def test_a_server_without_the_condition_is_found(s3: S3Server) -> None:
    s3.faults.append(Fault("PUT", FIRST_WRITER, status=501, code="NotImplemented"))
    with pytest.raises(SlipwayError) as caught:
        open_store("s3://models/a").put("k", [b"x"])
    assert caught.value.reason is Reason.UNSUPPORTED_STORE
    assert "s3://models/a" in caught.value.message


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_a_sound_server_is_asked_once(kind: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("s3" if kind == "s3" else "gcs")

    def asked() -> int:
        return sum(FIRST_WRITER in path and method in ("PUT", "POST") for method, path, _ in server.requests)

    store = open_store(f"{kind}://models/a")
    for key in ("k", "l"):
        assert store.put(key, [b"x"])
    first = asked()
    assert first <= 2
    assert open_store(f"{kind}://models/a").put("m", [b"x"])
    assert asked() <= first + 1
    assert sorted(store.list("")) == ["k", "l", "m"]


@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_a_check_leaves_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    server = request.getfixturevalue("s3" if kind == "s3" else "gcs")
    open_store(f"{kind}://models/a").check()
    assert server.buckets["models"] == {}
