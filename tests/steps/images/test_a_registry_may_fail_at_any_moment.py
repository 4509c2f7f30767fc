"""The way to a registry: each fault ends with the right image or a named reason, and nobody reads a secret."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.settings import read_settings
from steps.images.registry.credentials import find_credentials
from steps.images.registry.reference import Reference
from steps.images.registry.repository import Descriptor, Repository, digest_of
from tests.conftest import FakeClock
from tests.servers.oci_registry import STATE, Effect, Fault, OciRegistry
from tests.servers.trust import Trust
from tests.steps.images.assembly import BASE, Workshop, auth, docker_config, put_base

REPOSITORY = "team/tiny-text-classification"
PASSWORD = "correct horse"

FAULTS = {
    "an upload cannot begin": Fault("POST", "uploads/", status=500),
    "too many requests": Fault("PUT", "uploads/", status=429, headers={"Retry-After": "7"}),
    "the connection breaks within an upload": Fault("PUT", "uploads/", Effect.DROP),
    "the answer to an upload is lost": Fault("PUT", "uploads/", Effect.LOSE),
    "an upload arrives with another byte": Fault("PUT", "uploads/", Effect.CORRUPT),
    "an upload is forgotten": Fault("PUT", "uploads/", status=404),
    "nobody knows whether a blob is there": Fault("HEAD", "blobs/", status=503),
    "the manifest is not taken": Fault("PUT", "manifests/", status=502),
    "the answer to the manifest is lost": Fault("PUT", "manifests/", Effect.LOSE),
    "the base cannot be read": Fault("GET", "library/python/manifests/", status=504),
    "the base's manifest arrives with another byte": Fault("GET", "library/python/manifests/", Effect.CORRUPT),
    "the base's configuration breaks off": Fault("GET", "library/python/blobs/", Effect.LOSE),
    "the base's configuration arrives with another byte": Fault("GET", "library/python/blobs/", Effect.CORRUPT),
}


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_what_passes_leaves_no_trace(workshop: Workshop, fault: Fault, times: int) -> None:
    with OciRegistry() as quiet:
        put_base(quiet)
        workshop.registry.faults.append(Fault(**{**vars(fault), "times": times}))
        outputs = workshop.build()
        manifests = workshop.registry.manifests[REPOSITORY]
    assert workshop.registry.image(workshop.name(outputs))[0] == outputs.image_digest
    assert set(manifests) == {outputs.image.rpartition(":")[2], outputs.image_digest}
    if fault.headers:
        assert [seconds for seconds in workshop.clock.slept if seconds == 7.0]
    assert STATE not in workshop.said()


def test_layers_of_another_registry_are_read_again_when_they_break_off(workshop: Workshop) -> None:
    with OciRegistry() as elsewhere:
        put_base(elsewhere)
        elsewhere.faults += [Fault("GET", "/blobs/", Effect.LOSE, times=2), Fault("GET", "/blobs/", Effect.CORRUPT)]
        outputs = workshop.build(base=f"{elsewhere.host}/{BASE}")
    assert workshop.registry.image(workshop.name(outputs))[0] == outputs.image_digest


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        (Fault("POST", "uploads/", status=500), Reason.STORE_BUSY, "answered 500"),
        (Fault("PUT", "uploads/", Effect.DROP), Reason.NETWORK_UNREACHABLE, "cannot be reached"),
        (Fault("PUT", "uploads/", Effect.CORRUPT), Reason.DIGEST_MISMATCH, "DIGEST_INVALID"),
        (Fault("GET", "library/python/blobs/", Effect.CORRUPT), Reason.DIGEST_MISMATCH, "sha256"),
        (Fault("PUT", "uploads/", status=413), Reason.TOO_LARGE, "answered 413"),
        (Fault("PUT", "manifests/", status=403), Reason.ACCESS_DENIED, "answered 403"),
        (Fault("GET", "library/python/manifests/", status=404), Reason.SOURCE_NOT_FOUND, "answered 404"),
        (Fault("POST", "uploads/", status=418), Reason.SOURCE_PROTOCOL, "answered 418"),
        (Fault("PUT", "uploads/", status=503, headers={"Retry-After": "86400"}), Reason.STORE_BUSY, "answered 503"),
    ],
    ids=lambda value: value.value if isinstance(value, Reason) else None,
)
def test_what_does_not_pass_has_a_reason_and_leaves_no_image(
    workshop: Workshop, fault: Fault, reason: Reason, said: str
) -> None:
    fault.times = 10**6
    workshop.registry.faults.append(fault)
    with pytest.raises(SlipwayError) as caught:
        workshop.build()
    assert caught.value.reason is reason
    assert said in caught.value.message
    assert workshop.registry.host in caught.value.message
    assert STATE not in workshop.said(caught.value)
    assert REPOSITORY not in workshop.registry.manifests
    if reason.retryable:
        assert reason.exit_code is ExitCode.TRANSIENT


def test_a_manifest_that_is_not_what_was_pushed_is_noticed(workshop: Workshop) -> None:
    workshop.registry.faults.append(Fault("GET", "tiny-text-classification/manifests/", Effect.CORRUPT, times=10**6))
    with pytest.raises(SlipwayError) as caught:
        workshop.build()
    assert caught.value.reason is Reason.DIGEST_MISMATCH


# Who asks


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_a_registry_that_asks_who_it_is_gets_the_credentials_of_docker(workshop: Workshop, tmp_path: Path, kind: str) -> None:
    workshop.registry.auth, workshop.registry.users = kind, {"ada": PASSWORD}  # type: ignore[assignment]
    docker_config(tmp_path / "docker", auths={workshop.registry.host: auth("ada", PASSWORD)})
    outputs = workshop.build()
    assert workshop.registry.image(workshop.name(outputs))[0] == outputs.image_digest
    assert PASSWORD not in workshop.said()


def test_a_token_that_runs_out_is_renewed(workshop: Workshop, tmp_path: Path) -> None:
    workshop.registry.auth, workshop.registry.users, workshop.registry.token_seconds = "bearer", {"ada": PASSWORD}, 1
    docker_config(tmp_path / "docker", auths={workshop.registry.host: auth("ada", PASSWORD)})
    workshop.registry.faults += [Fault("PUT", "uploads/", status=503, headers={"Retry-After": "60"}, times=3)]
    outputs = workshop.build()
    assert len(workshop.registry.tokens) > 3
    assert workshop.registry.image(workshop.name(outputs))[0] == outputs.image_digest


def test_an_identity_token_is_exchanged(workshop: Workshop, tmp_path: Path) -> None:
    workshop.registry.auth, workshop.registry.refresh_tokens = "bearer", {"refresh-me": "ada"}
    docker_config(tmp_path / "docker", auths={workshop.registry.host: {"identitytoken": "refresh-me"}})
    assert workshop.build().image_digest
    assert "refresh-me" not in workshop.said()


def test_reading_needs_nobody_where_the_registry_lets_all_read(workshop: Workshop) -> None:
    workshop.registry.auth = "bearer"
    reference = Reference.parse(f"{workshop.registry.host}/{BASE}")
    with Repository(reference, plain_http=(), clock=FakeClock(), note=print) as repository:
        assert repository.manifest("3.11-slim")[1]


@pytest.mark.parametrize("kind", ["basic", "bearer"])
@pytest.mark.parametrize("entry", [{}, auth("ada", "wrong " + PASSWORD)], ids=["nobody", "a wrong password"])
def test_who_may_not_push_is_told_how_to_log_in_and_no_secret(
    workshop: Workshop, tmp_path: Path, kind: str, entry: dict[str, str]
) -> None:
    workshop.registry.auth, workshop.registry.users = kind, {"ada": PASSWORD}  # type: ignore[assignment]
    docker_config(tmp_path / "docker", auths={workshop.registry.host: entry})
    with OciRegistry() as elsewhere:
        put_base(elsewhere)
        with pytest.raises(SlipwayError) as caught:
            workshop.build(base=f"{elsewhere.host}/{BASE}")
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "docker login" in caught.value.hint
    assert f"push to {workshop.registry.host}/{REPOSITORY}" in caught.value.hint
    said = workshop.said(caught.value)
    assert PASSWORD not in said
    assert entry.get("auth", "no such thing") not in said
    assert not any(token in said for token in workshop.registry.tokens)


HELPER = """#!/bin/sh
[ "$1" = get ] || exit 2
read -r server
case $server in
  HOST) printf '{"ServerURL": "%s", "Username": "ada", "Secret": "correct horse"}' "$server" ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


@pytest.mark.parametrize("how", ["credHelpers", "credsStore"])
def test_a_credential_helper_is_asked(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    host = workshop.registry.host
    workshop.registry.auth, workshop.registry.users = "basic", {"ada": PASSWORD}
    program = tmp_path / "bin/docker-credential-tests"
    program.parent.mkdir()
    program.write_text(HELPER.replace("HOST", host))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    docker_config(tmp_path / "docker", **{how: {host: "tests"} if how == "credHelpers" else "tests"})
    assert workshop.build().image_digest
    assert find_credentials("elsewhere.example", "a") is None
    program.write_text("#!/bin/sh\necho it broke and says hush-hush >&2\nexit 3\n")
    with pytest.raises(SlipwayError, match=r"docker-credential-tests failed for .* \(3\)") as caught:
        find_credentials(host, "a")
    assert caught.value.reason is Reason.ACCESS_DENIED
    assert "hush" not in workshop.said(caught.value)
    program.unlink()
    with pytest.raises(SlipwayError, match="which is not installed") as caught:
        find_credentials(host, "a")
    assert caught.value.reason is Reason.MISSING_DEPENDENCY


@pytest.mark.parametrize(
    ("config", "host", "repository", "user"),
    [
        ({"auths": {"r.example": auth("one", "x")}}, "r.example", "a/b", "one"),
        ({"auths": {"https://r.example/v1/": auth("one", "x")}}, "r.example", "a/b", "one"),
        ({"auths": {"https://index.docker.io/v1/": auth("hub", "x")}}, "docker.io", "library/python", "hub"),
        ({"auths": {"r.example": auth("all", "x"), "r.example/a": auth("part", "x")}}, "r.example", "a/b", "part"),
        ({"auths": {"r.example/other": auth("part", "x")}}, "r.example", "a/b", None),
        ({"auths": {"r.example": {"username": "plain", "password": "x"}}}, "r.example", "a", "plain"),
        ({"auths": {"evil-r.example": auth("one", "x")}}, "r.example", "a", None),
        ({"auths": {"r.example": {}}}, "r.example", "a", None),
        ({}, "r.example", "a", None),
    ],
)
def test_the_narrowest_entry_is_taken(
    offline_pip: None, tmp_path: Path, config: dict[str, object], host: str, repository: str, user: str | None
) -> None:
    docker_config(tmp_path / "docker", **config)
    found = find_credentials(host, repository)
    assert (found.username if found else None) == user
    assert "x" not in repr(found).replace("username", "")


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": {"r.example": {"auth": "hush-hush!"}}}', '{"credsStore": "../../bin/x"}']
)
def test_a_broken_file_is_named_and_not_quoted(
    offline_pip: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(path))
    with pytest.raises(SlipwayError, match="not a valid configuration of Docker") as caught:
        find_credentials("r.example", "a")
    assert caught.value.reason is Reason.INVALID_INPUT
    assert str(path) in caught.value.message
    assert "hush" not in caught.value.message


# Where to


@pytest.mark.parametrize(
    ("text", "full", "api_host"),
    [
        ("python:3.11-slim", "docker.io/library/python:3.11-slim", "registry-1.docker.io"),
        ("team/app", "docker.io/team/app:latest", "registry-1.docker.io"),
        ("r.example/a/b:1", "r.example/a/b:1", "r.example"),
        ("localhost/a:1", "localhost/a:1", "localhost"),
        ("10.0.0.1:5000/a/b_c/d--e:v1.2", "10.0.0.1:5000/a/b_c/d--e:v1.2", "10.0.0.1:5000"),
        (f"r.example/a:1@sha256:{'0' * 64}", f"r.example/a:1@sha256:{'0' * 64}", "r.example"),
        (f"r.example/a@sha256:{'0' * 64}", f"r.example/a@sha256:{'0' * 64}", "r.example"),
    ],
)
def test_a_name_is_read_as_docker_reads_it(text: str, full: str, api_host: str) -> None:
    found = Reference.parse(text)
    assert str(found) == full
    assert found.api_host == api_host
    assert found.identifier == (found.digest or found.tag)


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a b", "r.example/a:", "r.example/a@sha256:12", "r.example//a", "a:b:c", "x/../y", "a?b"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(SlipwayError, match="not the name of an image"):
        Reference.parse(text)


def test_only_a_named_registry_is_asked_without_tls(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a name that only the proxy knows, which shows that proxies are asked, too."""
    monkeypatch.setenv("http_proxy", f"http://{workshop.registry.host}")
    monkeypatch.setenv("https_proxy", f"http://{workshop.registry.host}")
    reference = Reference.parse(f"plain.example/{BASE}")

    def read() -> bytes:
        plain_http = read_settings().plain_http
        with Repository(reference, plain_http=plain_http, clock=workshop.clock, note=workshop.progress.note) as repository:
            return repository.manifest("3.11-slim")[1]

    with pytest.raises(SlipwayError) as caught:
        read()
    assert caught.value.reason is Reason.NETWORK_UNREACHABLE
    monkeypatch.setenv("SLIPWAY_PLAIN_HTTP", "other.example,plain.example")
    assert digest_of(read()) == workshop.registry.image(BASE)[0]
    assert ("GET", f"http://plain.example/v2/{BASE.replace(':', '/manifests/')}") in workshop.registry.requests


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


def test_a_certificate_counts_if_its_authority_is_named(
    workshop: Workshop, trust: Trust, token_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.registry.auth, workshop.registry.realm = "bearer", token_server
    workshop.registry.tokens["a-token-over-tls"] = {f"{BASE.partition(':')[0]}:pull"}
    reference = Reference.parse(f"{workshop.registry.host}/{BASE}")

    def read() -> bytes:
        with Repository(reference, plain_http=(), clock=workshop.clock, note=workshop.progress.note) as repository:
            return repository.manifest("3.11-slim")[1]

    with pytest.raises(SlipwayError, match="shows no certificate that is trusted here") as caught:
        read()
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
    assert "SSL_CERT_FILE" in caught.value.hint
    monkeypatch.setenv("SSL_CERT_FILE", str(trust.certificate))
    assert digest_of(read()) == workshop.registry.image(BASE)[0]


def test_credentials_go_to_no_token_server_without_tls(workshop: Workshop, tmp_path: Path) -> None:
    workshop.registry.auth, workshop.registry.realm = "bearer", "http://tokens.example/token"
    docker_config(tmp_path / "docker", auths={workshop.registry.host: auth("ada", PASSWORD)})
    with pytest.raises(SlipwayError, match="names a token server that is not https") as caught:
        workshop.build()
    assert caught.value.reason is Reason.SOURCE_PROTOCOL


def test_more_than_was_promised_is_not_read(workshop: Workshop) -> None:
    data = b"x" * 1000
    workshop.registry.blobs["library/python"][digest_of(data)] = data
    reference = Reference.parse(f"{workshop.registry.host}/{BASE}")
    with (
        Repository(reference, plain_http=(), clock=workshop.clock, note=workshop.progress.note) as repository,
        pytest.raises(SlipwayError, match="more than the 999 bytes") as caught,
    ):
        repository.read(Descriptor("x", digest_of(data), 999))
    assert caught.value.reason is Reason.DIGEST_MISMATCH
