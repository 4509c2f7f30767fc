"""The HTTP client against a small server: redirects, credentials, limits, broken connections, certificates and proxies."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.net.credentials import BoundHeaders
from steps.net.http import MAX_HOPS, Body, HttpClient
from steps.net.retry import TransientError
from tests.servers.http_proxy import HttpProxy
from tests.servers.trust import Trust

CREDENTIAL = "Basic c2VjcmV0"


class Handler(BaseHTTPRequestHandler):
    """Answers by path, and keeps each request's target, credential and body in ``server.requests``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        requests: list[tuple[str, str | None, bytes]] = self.server.requests  # type: ignore[attr-defined]
        requests.append((self.path, self.headers.get("Authorization"), body))
        target = self.path.partition("to=")[2]
        if target:
            self._answer(303 if "303" in self.path else 302, b"", {"Location": target})
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.wfile.flush()
            self.connection.shutdown(SHUT_RDWR)
        elif self.path == "/busy":
            self._answer(503, b"", {"Retry-After": "7"})
        else:
            self._answer(200, b"0123456789", {})

    do_POST = do_GET

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server on a free port of loopback."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None, bytes]] = []
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet about connections that a test breaks."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient()
    yield client
    client.close()


def follow(target: str) -> str:
    """A policy that goes anywhere."""
    return target


def test_an_answer_is_returned_whatever_its_status(server: Server, client: HttpClient) -> None:
    with client.request("GET", f"{server.url}/busy", what="A thing") as response:
        assert (response.status, response.address) == (503, f"{server.url}/busy")
        assert response.header("Retry-After") == "7"
        assert response.header("Nothing") == ""


def test_a_redirect_is_an_answer_without_a_policy(server: Server, client: HttpClient) -> None:
    with client.request("GET", f"{server.url}/?to=/end", what="A thing") as response:
        assert (response.status, response.header("Location")) == (302, "/end")


def test_a_policy_sees_absolute_targets(server: Server, client: HttpClient) -> None:
    seen: list[str] = []

    def policy(target: str) -> str:
        seen.append(target)
        return target

    with client.request("GET", f"{server.url}/a/b?to=c", what="A thing", redirect=policy) as response:
        assert response.read(100) == b"0123456789"
        assert seen == [response.address] == [f"{server.url}/a/c"]


def test_a_policy_may_refuse_a_redirect(server: Server, client: HttpClient) -> None:
    def policy(target: str) -> str:
        raise SlipwayError(Reason.SOURCE_PROTOCOL, f"Not to {target}.")

    with pytest.raises(SlipwayError, match="Not to http"):
        client.request("GET", f"{server.url}/?to=/end", what="A thing", redirect=policy)
    assert len(server.requests) == 1


def test_redirects_without_end_are_given_up(server: Server, client: HttpClient) -> None:
    with pytest.raises(SlipwayError, match=f"A thing: more than {MAX_HOPS} redirects") as caught:
        client.request(
            "GET", f"{server.url}/?signature=hush&to=?to=", what="A thing", redirect=lambda target: f"{server.url}/?to=x"
        )
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
    assert "hush" not in caught.value.message
    assert len(server.requests) == MAX_HOPS + 1


def test_a_credential_stays_with_its_origin(server: Server, client: HttpClient) -> None:
    authorization = BoundHeaders.authorization(server.url, CREDENTIAL)
    with serving() as other:
        target = f"{server.url}/?to={other.url}/?to={server.url}/end"
        with client.request("GET", target, what="A thing", bound=authorization, redirect=follow) as response:
            assert response.status == 200
        assert [credential for _, credential, _ in other.requests] == [None]
    assert [credential for _, credential, _ in server.requests] == [CREDENTIAL, CREDENTIAL]
    assert "c2VjcmV0" not in repr(authorization)


@pytest.mark.parametrize("address", ["", "https://[", "nothing", "http://127.0.0.1@evil.invalid/", "http://127.0.0.1:1/"])
def test_a_credential_belongs_to_no_other_address(address: str) -> None:
    assert not BoundHeaders.authorization("http://127.0.0.1", CREDENTIAL).belongs_to(address)
    assert not BoundHeaders.authorization("", CREDENTIAL).belongs_to(address)


def test_a_body_is_sent_again_after_a_redirect(server: Server, client: HttpClient) -> None:
    body = Body(6, lambda: iter([b"abc", b"def"]))
    with client.request("POST", f"{server.url}/?to=/end", what="A thing", body=body, redirect=follow) as response:
        assert response.status == 200
    assert [sent for _, _, sent in server.requests] == [b"abcdef", b"abcdef"]


def test_a_body_above_its_limit_is_refused(server: Server, client: HttpClient) -> None:
    with client.request("GET", f"{server.url}/", what="A thing") as response:
        assert response.read(10) == b"0123456789"
    with client.request("GET", f"{server.url}/", what="A thing") as response:
        chunks = response.chunks(9, too_long=Reason.DIGEST_MISMATCH)
        assert next(chunks) == b"012345678"
        with pytest.raises(SlipwayError, match="more than the 9 bytes") as caught:
            next(chunks)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_a_broken_body_is_transient(server: Server, client: HttpClient) -> None:
    with client.request("GET", f"{server.url}/cut", what="A thing") as response, pytest.raises(TransientError) as caught:
        response.read(1000)
    assert caught.value.reason is Reason.NETWORK_UNREACHABLE
    assert caught.value.message.startswith(f"A thing: the connection to {server.url[7:]} broke: ")


def test_an_unreachable_host_is_transient(client: HttpClient) -> None:
    with pytest.raises(TransientError, match=r"A thing: 127\.0\.0\.1:1 cannot be reached: Connection refused") as caught:
        client.request("GET", "http://user:hush@127.0.0.1:1/x?signature=hush", what="A thing")
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("address", ["http://[::1/x", "http://127.0.0.1:99999/x", "http:///x", "http://127.0.0.1:x/"])
def test_an_unreadable_address_is_a_protocol_error(client: HttpClient, address: str) -> None:
    with pytest.raises(SlipwayError, match="A thing: the server gave an address that cannot be read") as caught:
        client.request("GET", address, what="A thing")
    assert caught.value.reason is Reason.SOURCE_PROTOCOL


@pytest.fixture
def trusted(tmp_path: Path) -> Trust:
    return Trust.make(tmp_path / "trust", "test", "127.0.0.1", "behind.invalid")


@pytest.fixture
def tls(trusted: Trust) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted.certificate, trusted.key)
    return context


def test_an_unknown_certificate_is_permanent(
    tls: ssl.SSLContext, trusted: Trust, monkeypatch: pytest.MonkeyPatch, client: HttpClient
) -> None:
    with serving(tls) as server:
        with pytest.raises(SlipwayError, match="shows no certificate that is trusted here") as caught:
            client.request("GET", f"{server.url}/", what="A thing")
        assert (caught.value.reason, caught.value.reason.retryable) == (Reason.UNTRUSTED_CERTIFICATE, False)
        assert "SSL_CERT_FILE" in caught.value.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted.certificate))
        with HttpClient().request("GET", f"{server.url}/", what="A thing") as response:
            assert response.status == 200


def test_a_server_without_tls_is_named(server: Server, client: HttpClient) -> None:
    with pytest.raises(SlipwayError, match="TLS with 127") as caught:
        client.request("GET", server.url.replace("http:", "https:"), what="A thing")
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
    assert "SLIPWAY_PLAIN_HTTP" in caught.value.hint


def test_each_address_has_its_own_proxy(server: Server, client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", server.url.removeprefix("http://"))
        address = f"{server.url}/?to=http://behind.invalid/end"
        with client.request("GET", address, what="A thing", redirect=follow) as response:
            assert response.read(100) == b"0123456789"
        assert [target for target, _, _ in proxy.requests] == ["http://behind.invalid/end"]
    assert len(server.requests) == 1


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("by_tls", [False, True], ids=["http", "https"])
def test_a_proxy_gets_its_user_and_password(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, trusted: Trust, by_tls: bool
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.certificate))
    with serving(tls) as server, HttpProxy(user="ada", password="p@ss", tls=tls if by_tls else None) as proxy:
        proxy.hosts["behind.invalid:443"] = ("127.0.0.1", int(server.server_address[1]))
        monkeypatch.setenv("https_proxy", f"{'https' if by_tls else 'http'}://ada:p%40ss@{proxy.host}")
        with client.request("GET", "https://behind.invalid/", what="A thing") as response:
            assert response.read(100) == b"0123456789"
        assert proxy.requests == [("CONNECT", "behind.invalid:443")]
        client.close()


@pytest.mark.fault("refused")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_without_tls_is_told(client: HttpClient, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    with HttpProxy() as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"https://{proxy.host}")
        with pytest.raises(SlipwayError, match="does not speak TLS") as caught:
            client.request("GET", f"{scheme}://behind.invalid/", what="A thing")
        assert caught.value.reason is Reason.PROXY_REFUSED
        assert f"Write http:// and not https:// in {scheme}_proxy" in caught.value.hint


@pytest.mark.fault("refused")
def test_a_plain_407_is_the_proxys(server: Server, client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with HttpProxy(user="ada", password="p@ss") as proxy:
        monkeypatch.setenv("http_proxy", f"ada:wr%40ng@{proxy.host}")
        with pytest.raises(SlipwayError, match="does not accept the user and password") as caught:
            client.request("GET", "http://behind.invalid/x?signature=hush", what="A thing")
        assert caught.value.reason is Reason.PROXY_REFUSED
        assert "http_proxy" in caught.value.hint
        assert "wr@ng" not in str(caught.value)


@pytest.mark.fault("survived")
def test_an_unknown_name_is_given_up_early(client: HttpClient) -> None:
    with pytest.raises(TransientError, match=r"there is no host of the name no-such-host\.invalid") as caught:
        client.request("GET", "https://no-such-host.invalid/x", what="A thing")
    assert caught.value.reason is Reason.NETWORK_UNREACHABLE
    assert "no-such-host.invalid" in caught.value.hint


@pytest.mark.fault("refused")
@pytest.mark.parametrize("value", ["a\nX: b", "snow\u2603", "a\rb"])
def test_a_header_that_http_cannot_carry(server: Server, client: HttpClient, value: str) -> None:
    with pytest.raises(SlipwayError, match="a header that HTTP cannot carry") as caught:
        client.request("GET", f"{server.url}/", what="A thing", headers={"X-Odd": value})
    assert caught.value.reason is Reason.SOURCE_PROTOCOL
    assert server.requests == []


def test_a_303_asks_for_a_get(server: Server, client: HttpClient) -> None:
    with client.request("POST", f"{server.url}/303?to=/end", what="A thing", body=b"abc", redirect=follow) as response:
        assert response.status == 200
    assert [sent for _, _, sent in server.requests] == [b"abc", b""]


def test_connections_are_shared_among_threads(server: Server, client: HttpClient) -> None:
    failures: list[Exception] = []

    def ask(done: Callable[[], object]) -> None:
        try:
            with client.request("GET", f"{server.url}/", what="A thing") as response:
                assert response.read(100) == b"0123456789"
        except Exception as error:
            failures.append(error)
        done()

    barrier = threading.Barrier(9)
    threads = [threading.Thread(target=ask, args=[barrier.wait]) for _ in range(8)]
    for thread in threads:
        thread.start()
    barrier.wait(30)
    for thread in threads:
        thread.join()
    assert failures == []
