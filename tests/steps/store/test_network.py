"""Stores behind a proxy, with a private certificate authority, and while neither answers: the libraries follow our rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.core.store import Store
from steps.store.supported import open_store
from tests.servers.faulty_server import FaultyServer
from tests.servers.gcs_server import GcsServer
from tests.servers.http_proxy import HttpProxy
from tests.servers.s3_server import S3Server
from tests.servers.tls_front import TlsFront
from tests.servers.trust import Trust

pytestmark = [pytest.mark.slow, pytest.mark.hard]

KEY = "runs/one/fetch.json"


@dataclass
class Remote:
    """A bucket at ``https://store.invalid``, a name that only a proxy knows, or at ``direct``."""

    uri: str
    front: TlsFront
    variable: str

    def store(self, monkeypatch: pytest.MonkeyPatch, address: str) -> Store:
        monkeypatch.setenv(self.variable, address)
        return open_store(self.uri)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust.make(tmp_path_factory.mktemp("authority"), "test", "127.0.0.1", "store.invalid")


@pytest.fixture(params=["gs", "s3"])
def remote(request: pytest.FixtureRequest, aws: pytest.MonkeyPatch, authority: Trust) -> Iterator[Remote]:
    kind: Callable[[str], FaultyServer] = GcsServer if request.param == "gs" else S3Server
    variable = "STORAGE_EMULATOR_HOST" if request.param == "gs" else "AWS_ENDPOINT_URL_S3"
    aws.setenv("AWS_REGION", "us-east-1")
    with kind("models") as server:
        host, port = server.url.removeprefix("http://").split(":")
        with TlsFront(authority, (host, int(port))) as front:
            yield Remote(f"{request.param}://models/a", front, variable)


def failure_of(store: Store) -> SlipwayError:
    with pytest.raises(SlipwayError) as caught:
        store.size(KEY)
    assert "hush" not in str(caught.value) + caught.value.hint
    return caught.value


@contextmanager
def proxied(remote: Remote, **settings: Any) -> Iterator[HttpProxy]:
    with HttpProxy(hosts={"store.invalid:443": remote.front.address}, **settings) as proxy:
        yield proxy


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_a_store_trusts_a_private_authority(
    remote: Remote, authority: Trust, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "company.pem").write_bytes(authority.certificate.read_bytes())
    monkeypatch.setenv(variable, str(tmp_path if variable == "SSL_CERT_DIR" else tmp_path / "company.pem"))
    store = remote.store(monkeypatch, remote.front.url)
    store.write(KEY, b"{}")
    assert b"".join(store.read(KEY)) == b"{}"


@pytest.mark.fault("refused")
def test_an_unknown_authority_of_a_store_is_permanent(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = failure_of(remote.store(monkeypatch, remote.front.url))
    assert failure.reason is Reason.UNTRUSTED_CERTIFICATE
    assert remote.front.url.removeprefix("https://") in failure.message
    assert remote.uri in failure.message
    assert "SSL_CERT_FILE" in failure.hint


@pytest.mark.fault("refused")
def test_a_certificate_for_other_names_is_permanent(tmp_path: Path, remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Trust.make(tmp_path / "other", "test", "other.invalid")
    monkeypatch.setenv("SSL_CERT_FILE", str(other.certificate))
    began = time.monotonic()
    with TlsFront(other, remote.front.behind) as front:
        failure = failure_of(remote.store(monkeypatch, front.url))
    assert failure.reason is Reason.UNTRUSTED_CERTIFICATE
    assert front.url.removeprefix("https://") in failure.message
    assert "Use the name that the certificate" in failure.hint
    assert time.monotonic() - began < 20, "it was tried again"


@pytest.mark.fault("accepted")
def test_a_store_is_reached_by_a_proxy(remote: Remote, authority: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with proxied(remote, user="ada", password="hush@me") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"ada:hush%40me@{proxy.host}")
        store = remote.store(monkeypatch, "https://store.invalid")
        assert store.put(KEY, [b"{}"])
        assert b"".join(store.read(KEY)) == b"{}"
        assert set(proxy.requests) == {("CONNECT", "store.invalid:443")}


@pytest.mark.fault("refused")
def test_a_proxy_that_refuses_a_store_is_named(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxied(remote, user="ada", password="hush@me") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ada:wrong-hush@{proxy.host}")
        failure = failure_of(remote.store(monkeypatch, "https://store.invalid"))
        assert failure.reason is Reason.PROXY_REFUSED
        assert f"the proxy {proxy.host} (HTTPS_PROXY), by which store.invalid is reached" in failure.message


@pytest.mark.fault("accepted")
def test_a_store_on_this_machine_has_no_proxy(remote: Remote, authority: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert remote.store(monkeypatch, remote.front.url).size(KEY) is None


@pytest.mark.fault("refused")
def test_a_missing_file_of_authorities_is_named(remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    failure = failure_of(remote.store(monkeypatch, remote.front.url))
    assert failure.reason is Reason.INVALID_INPUT
    assert "REQUESTS_CA_BUNDLE names" in failure.message
