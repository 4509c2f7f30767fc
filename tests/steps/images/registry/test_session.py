"""Requests to a registry: authentication, TLS and proxies; no secret reaches a message."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.core.settings import read_settings
from steps.images.registry.reference import Reference
from steps.images.registry.repository import Repository, digest_of
from tests.conftest import FakeClock
from tests.servers.oci_registry import Fault, OciRegistry
from tests.servers.trust import Trust
from tests.steps.images.oci_build import BASE, OciBuild, auth, docker_config, put_base

REPOSITORY = "team/tiny-text-classification"
PASSWORD = "correct horse"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_dockers_credentials_are_sent(oci_build: OciBuild, tmp_path: Path, kind: str) -> None:
    oci_build.registry.auth, oci_build.registry.users = kind, {"ada": PASSWORD}  # type: ignore[assignment]
    docker_config(tmp_path / "docker", auths={oci_build.registry.host: auth("ada", PASSWORD)})
    outputs = oci_build.build()
    assert oci_build.registry.image(oci_build.name(outputs))[0] == outputs.image_digest
    assert PASSWORD not in oci_build.messages()


@pytest.mark.slow
def test_an_expired_token_is_renewed(oci_build: OciBuild, tmp_path: Path) -> None:
    oci_build.registry.auth, oci_build.registry.users, oci_build.registry.token_seconds = "bearer", {"ada": PASSWORD}, 1
    docker_config(tmp_path / "docker", auths={oci_build.registry.host: auth("ada", PASSWORD)})
    oci_build.registry.faults += [Fault("PUT", "uploads/", status=503, headers={"Retry-After": "60"}, times=3)]
    outputs = oci_build.build()
    assert len(oci_build.registry.tokens) > 3
    assert oci_build.registry.image(oci_build.name(outputs))[0] == outputs.image_digest


@pytest.mark.slow
def test_an_identity_token_is_exchanged(oci_build: OciBuild, tmp_path: Path) -> None:
    oci_build.registry.auth, oci_build.registry.refresh_tokens = "bearer", {"refresh-me": "ada"}
    docker_config(tmp_path / "docker", auths={oci_build.registry.host: {"identitytoken": "refresh-me"}})
    assert oci_build.build().image_digest
    assert "refresh-me" not in oci_build.messages()


def test_anonymous_reading_needs_no_credentials(oci_build: OciBuild) -> None:
    oci_build.registry.auth = "bearer"
    reference = Reference.parse(f"{oci_build.registry.host}/{BASE}")
    with Repository(reference, plain_http=(), clock=FakeClock(), note=print) as repository:
        assert repository.manifest("3.11-slim")[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("entry", [{}, auth("ada", "wrong " + PASSWORD)], ids=["no password", "a wrong password"])
def test_a_denied_push_says_how_to_log_in(oci_build: OciBuild, tmp_path: Path, kind: str, entry: dict[str, str]) -> None:
    oci_build.registry.auth, oci_build.registry.users = kind, {"ada": PASSWORD}  # type: ignore[assignment]
    docker_config(tmp_path / "docker", auths={oci_build.registry.host: entry})
    with OciRegistry() as elsewhere:
        put_base(elsewhere)
        with pytest.raises(SlipwayError) as caught:
            oci_build.build(base=f"{elsewhere.host}/{BASE}")
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "docker login" in caught.value.hint
    assert f"push to {oci_build.registry.host}/{REPOSITORY}" in caught.value.hint
    message = oci_build.messages(caught.value)
    assert PASSWORD not in message
    assert entry.get("auth", "no such thing") not in message
    assert not any(token in message for token in oci_build.registry.tokens)


def test_only_named_registries_use_plain_http(oci_build: OciBuild, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a name that only the proxy knows, which shows that proxies are asked, too."""
    monkeypatch.setenv("http_proxy", f"http://{oci_build.registry.host}")
    monkeypatch.setenv("https_proxy", f"http://{oci_build.registry.host}")
    reference = Reference.parse(f"plain.example/{BASE}")

    def read() -> bytes:
        plain_http = read_settings().plain_http
        with Repository(reference, plain_http=plain_http, clock=oci_build.clock, note=oci_build.progress.note) as repository:
            return repository.manifest("3.11-slim")[1]

    with pytest.raises(SlipwayError) as caught:
        read()
    assert caught.value.reason is Reason.PROXY_REFUSED  # the registry is none for tunnels
    monkeypatch.setenv("SLIPWAY_PLAIN_HTTP", "other.example,plain.example")
    assert digest_of(read()) == oci_build.registry.image(BASE)[0]
    assert ("GET", f"http://plain.example/v2/{BASE.replace(':', '/manifests/')}") in oci_build.registry.requests


class _TokenServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data = b'{"access_token": "a-token-over-tls"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def token_server(trust: Trust) -> Iterator[str]:
    """The address of a token server whose certificate only ``trust.certificate`` vouches for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TokenServer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trust.certificate, trust.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}/token"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_named_certificate_authority_is_trusted(
    oci_build: OciBuild, trust: Trust, token_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    oci_build.registry.auth, oci_build.registry.realm = "bearer", token_server
    oci_build.registry.tokens["a-token-over-tls"] = {f"{BASE.partition(':')[0]}:pull"}
    reference = Reference.parse(f"{oci_build.registry.host}/{BASE}")

    def read() -> bytes:
        with Repository(reference, plain_http=(), clock=oci_build.clock, note=oci_build.progress.note) as repository:
            return repository.manifest("3.11-slim")[1]

    with pytest.raises(SlipwayError, match="shows no certificate that is trusted here") as caught:
        read()
    assert caught.value.reason is Reason.UNTRUSTED_CERTIFICATE
    assert "SSL_CERT_FILE" in caught.value.hint
    monkeypatch.setenv("SSL_CERT_FILE", str(trust.certificate))
    assert digest_of(read()) == oci_build.registry.image(BASE)[0]


def test_token_servers_must_use_https(oci_build: OciBuild, tmp_path: Path) -> None:
    oci_build.registry.auth, oci_build.registry.realm = "bearer", "http://tokens.example/token"
    docker_config(tmp_path / "docker", auths={oci_build.registry.host: auth("ada", PASSWORD)})
    with pytest.raises(SlipwayError, match="names a token server that is not https") as caught:
        oci_build.build()
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
