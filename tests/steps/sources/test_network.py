"""Fetching through proxies and with private certificate authorities: real git, LFS and TLS, and names only a proxy knows."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.forge import Forge, ForgeHandler, Reply
from pipelines.demo.repository import publish
from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from tests.conftest import FakeClock
from tests.servers.forge_faults import Fault, batch_requests, object_requests
from tests.servers.http_proxy import HttpProxy
from tests.servers.tls_front import TlsFront, server_context
from tests.servers.trust import Trust
from tests.steps.model_trees import model_tree
from tests.steps.sources.running import fetch, taken

pytestmark = pytest.mark.slow

USER, PASSWORD = "ada", "p@ss:w/rd"
VALUE = "ada:p%40ss%3Aw%2Frd@{host}"  # as curl takes it, without a scheme


@dataclass
class Site:
    """A forge behind TLS, for the names ``forge.invalid`` and ``objects.invalid`` that only the proxy knows."""

    forge: Forge
    front: TlsFront
    trust: Trust

    @property
    def source(self) -> str:
        return "https://forge.invalid/bert.git"

    @property
    def direct(self) -> str:
        return f"{self.front.url}/bert.git"

    def proxy(self, **settings: Any) -> HttpProxy:
        return HttpProxy(hosts={"forge.invalid:443": self.front.address, "objects.invalid:443": self.front.address}, **settings)


class Elsewhere(ForgeHandler):
    """Names addresses below the host that was asked, or ``objects.invalid`` where that was a name."""

    def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
        answer = super().lfs_answer(name, oid, size)
        host = self.headers["Host"]
        host = "objects.invalid" if host == "forge.invalid" else host
        answer["actions"]["download"]["href"] = f"https://{host}/{name}.git/lfs/objects/{oid}"
        return answer


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return Trust.make(tmp_path_factory.mktemp("authority"), "test", "127.0.0.1", "forge.invalid", "objects.invalid")


@pytest.fixture
def serving(tmp_path: Path, forge_root: Path, authority: Trust) -> Callable[..., Any]:
    """A forge of some kind behind TLS with the model ``bert``; ``trust`` is the certificate that it shows."""

    @contextlib.contextmanager
    def serving(handler: type[ForgeHandler] = Elsewhere, trust: Trust = authority) -> Iterator[Site]:
        publish(forge_root, "bert", model_tree(tmp_path / "tree"))
        with Forge(forge_root, handler=handler) as forge:
            host, port = forge.url("x").removeprefix("http://").partition("/")[0].split(":")
            with TlsFront(trust, (host, int(port))) as front:
                yield Site(forge, front, trust)

    return serving


def failure_of(context: Context, source: str, **inputs: str) -> SlipwayError:
    with pytest.raises(SlipwayError) as caught:
        fetch(context, source, **inputs)
    assert PASSWORD not in str(caught.value) + caught.value.hint
    assert "p%40ss" not in str(caught.value) + caught.value.hint
    return caught.value


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_git_and_objects_authenticate_to_a_proxy(
    context: Context, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    with serving() as site, site.proxy(user=USER, password=PASSWORD) as proxy:
        monkeypatch.setenv("SSL_CERT_FILE", str(site.trust.certificate))
        monkeypatch.setenv(variable, VALUE.format(host=proxy.host))
        weights = (tmp_path / "tree" / "model.safetensors").read_bytes()
        assert taken(context, fetch(context, site.source))["model.safetensors"] == weights
        assert set(proxy.requests) == {("CONNECT", "forge.invalid:443"), ("CONNECT", "objects.invalid:443")}


@pytest.mark.fault("accepted")
def test_a_plain_proxy_passes_plain_requests(
    context: Context, forge: Forge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``http_proxy=host:3128`` without a scheme, for git and for the batch request."""
    publish(forge.root, "bert", model_tree(tmp_path / "tree"))
    host, port = forge.url("x").removeprefix("http://").partition("/")[0].split(":")
    with HttpProxy(hosts={"forge.invalid:80": (host, int(port))}, user=USER, password=PASSWORD) as proxy:
        monkeypatch.setenv("http_proxy", VALUE.format(host=proxy.host))
        monkeypatch.setenv("SLIPWAY_HTTP_HOSTS", "forge.invalid")
        failure = failure_of(context, "http://forge.invalid/bert.git")
        assert failure.reason is Reason.SOURCE_PROTOCOL  # the objects of this forge are on loopback: no host may say that
        assert "an address inside this machine" in failure.message
        assert len(batch_requests(forge)) == 1
        assert ("POST", "http://forge.invalid/bert.git/info/lfs/objects/batch") in proxy.requests


@pytest.mark.fault("accepted")
def test_the_proxy_is_decided_per_address(
    context: Context, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is reached directly, its objects by the proxy alone."""

    class Objects(ForgeHandler):
        def lfs_answer(self, name: str, oid: str, size: int) -> dict[str, Any]:
            answer = super().lfs_answer(name, oid, size)
            answer["actions"]["download"]["href"] = f"https://objects.invalid/{name}.git/lfs/objects/{oid}"
            return answer

    with serving(Objects) as site, site.proxy() as proxy:
        monkeypatch.setenv("SSL_CERT_FILE", str(site.trust.certificate))
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.host}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        assert fetch(context, site.direct).files == 5
        assert set(proxy.requests) == {("CONNECT", "objects.invalid:443")}


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("value", "says"),
    [("{host}", "asks for a user and a password (407)"), ("ada:wrong-p%40ss@{host}", "does not accept the user and password")],
)
def test_a_proxys_407_is_the_proxys(
    context: Context, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, clock: FakeClock, value: str, says: str
) -> None:
    with serving() as site, site.proxy(user=USER, password=PASSWORD) as proxy:
        monkeypatch.setenv("SSL_CERT_FILE", str(site.trust.certificate))
        monkeypatch.setenv("HTTPS_PROXY", value.format(host=proxy.host))
        failure = failure_of(context, site.source)
        assert failure.reason is Reason.PROXY_REFUSED
        assert f"the proxy {proxy.host} (HTTPS_PROXY), by which forge.invalid is reached, {says}" in failure.message
        assert "wrong-p" not in failure.message
        assert "HTTPS_PROXY" in failure.hint
        assert clock.slept == []
        assert site.forge.exchanges == []


@pytest.mark.fault("refused")
def test_a_proxy_that_forbids_a_host_is_named(
    context: Context, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    with serving() as site, site.proxy(refuse=403) as proxy:
        monkeypatch.setenv("https_proxy", proxy.host)
        failure = failure_of(context, site.source)
        assert failure.reason is Reason.PROXY_REFUSED
        assert "does not let the request through (403)" in failure.message
        assert "NO_PROXY" in failure.hint
        assert clock.slept == []


@pytest.mark.fault("refused")
@pytest.mark.parametrize(("variable", "scheme"), [("HTTPS_PROXY", "https"), ("http_proxy", "http")])
def test_a_proxy_of_plain_http_is_told(
    context: Context, monkeypatch: pytest.MonkeyPatch, clock: FakeClock, variable: str, scheme: str
) -> None:
    monkeypatch.setenv("SLIPWAY_HTTP_HOSTS", "forge.invalid")
    with HttpProxy() as proxy:
        monkeypatch.setenv(variable, f"https://{proxy.host}")
        failure = failure_of(context, f"{scheme}://forge.invalid/bert.git")
        assert failure.reason is Reason.PROXY_REFUSED
        assert f"the proxy {proxy.host} ({variable}), by which forge.invalid is reached, does not speak TLS" in failure.message
        assert f"Write http:// and not https:// in {variable}" in failure.hint
        assert clock.slept == []


@pytest.mark.fault("refused")
@pytest.mark.parametrize("proxied", ["not", "http", "https"])
def test_a_source_of_plain_http_is_told(
    context: Context, forge: Forge, authority: Trust, monkeypatch: pytest.MonkeyPatch, proxied: str
) -> None:
    host, port = forge.url("x").removeprefix("http://").partition("/")[0].split(":")
    name = "forge.invalid" if proxied != "not" else f"{host}:{port}"
    tls = server_context(authority) if proxied == "https" else None
    with HttpProxy(hosts={"forge.invalid:443": (host, int(port))}, tls=tls) as proxy:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        monkeypatch.setenv("https_proxy", f"{proxied}://{proxy.host}" if proxied != "not" else "")
        failure = failure_of(context, f"https://{name}/bert.git")
    assert failure.reason is Reason.SOURCE_PROTOCOL
    assert f"{name} does not speak TLS at that port" in failure.message
    assert "write http://" in failure.hint


PAGES = {
    "one line": ("text/html", b"<html>Sign in</html>"),
    "several lines": ("text/html; charset=utf-8", b"<html>\n<body>\nSign in\n</body></html>\n"),
    "JSON": ("application/json", b'{"ok":true}'),
    "nothing": ("text/html", b""),
    "no type": ("", b"x"),
}


@pytest.mark.fault("refused")
@pytest.mark.parametrize("revision", ["", "a" * 40])
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_is_no_empty_repository(context: Context, forge_root: Path, kind: str, revision: str) -> None:
    media, body = PAGES[kind]

    class Page(ForgeHandler):
        def answer(self, _: bytes) -> Reply:
            return Reply(HTTPStatus.OK, {"Content-Type": media, "Content-Length": str(len(body))}, [body])

    with Forge(forge_root, handler=Page) as forge:
        failure = failure_of(context, forge.url("bert"), revision=revision)
    host = forge.url("x").split("/")[2]
    assert failure.reason is Reason.SOURCE_PROTOCOL
    assert f"{host} answered with a web page, such as that of a login or a proxy" in failure.message
    assert "git clone" in failure.hint


@pytest.mark.fault("refused")
def test_a_page_by_a_proxy_names_it(context: Context, forge_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Page(ForgeHandler):
        def answer(self, body: bytes) -> Reply:
            return Reply(HTTPStatus.OK, {"Content-Type": "text/html", "Content-Length": "2"}, [b"hi"])

    monkeypatch.setenv("SLIPWAY_HTTP_HOSTS", "forge.invalid")
    with Forge(forge_root, handler=Page) as forge:
        host, port = forge.url("x").split("/")[2].split(":")
        with HttpProxy(hosts={"forge.invalid:80": (host, int(port))}) as proxy:
            monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
            failure = failure_of(context, "http://forge.invalid/bert.git")
    assert failure.reason is Reason.SOURCE_PROTOCOL
    assert f"forge.invalid (by the proxy {proxy.host} (http_proxy)) answered with a web page" in failure.message
    assert "http_proxy" in failure.hint


@pytest.mark.fault("refused")
def test_a_commit_behind_the_tips_is_explained(context: Context, forge_root: Path, tmp_path: Path) -> None:
    """Over protocol 0 Git's own server gives out the tips alone: the commit exists, and nobody may get it."""

    class Version0(ForgeHandler):
        git_settings = ()

        def git_refs(self, name: str) -> Reply:
            del self.headers["Git-Protocol"]
            return super().git_refs(name)

    tree = model_tree(tmp_path / "tree")
    older = publish(forge_root, "bert", tree)
    (tree / "README.md").write_text("newer")
    assert publish(forge_root, "bert", tree) != older
    with Forge(forge_root, handler=Version0) as forge:
        failure = failure_of(context, forge.url("bert"), revision=older)
    assert failure.reason is Reason.REVISION_NOT_FOUND
    assert "has no such commit, or gives out only the tips of branches and tags" in failure.message
    assert "Name a branch or a tag" in failure.hint


@pytest.mark.fault("survived")
@pytest.mark.parametrize("kind", ["no proxy there", "an unknown host"])
def test_a_proxy_that_fails_is_transient(
    context: Context, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, clock: FakeClock, kind: str
) -> None:
    with serving() as site, site.proxy() as proxy:
        proxy.hosts.clear()
        host = proxy.host if kind == "an unknown host" else "127.0.0.1:1"
        monkeypatch.setenv("https_proxy", host)
        failure = failure_of(context, site.source)
        assert failure.reason is Reason.NETWORK_UNREACHABLE
        assert f"the proxy {host} (https_proxy)" in failure.message
        assert clock.monotonic() > 120


@pytest.mark.fault("refused")
def test_a_socks_proxy_is_refused_before_contact(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://{VALUE.format(host='127.0.0.1:1')}")
    failure = failure_of(context, "https://forge.invalid/bert.git")
    assert failure.reason is Reason.INVALID_INPUT
    assert "ALL_PROXY names a SOCKS proxy" in failure.message


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_git_and_objects_trust_a_private_authority(
    context: Context, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    with serving() as site:
        folder = tmp_path / "authorities"
        folder.mkdir()
        shutil.copy(site.trust.certificate, folder / "company.pem")
        monkeypatch.setenv(variable, str(folder if variable == "SSL_CERT_DIR" else folder / "company.pem"))
        assert fetch(context, site.direct).files == 5


@pytest.mark.fault("refused")
def test_an_unknown_authority_is_permanent(context: Context, serving: Callable[..., Any], clock: FakeClock) -> None:
    with serving() as site:
        failure = failure_of(context, site.direct)
    assert failure.reason is Reason.UNTRUSTED_CERTIFICATE
    assert f"{site.front.url.removeprefix('https://')} shows no certificate that is trusted here" in failure.message
    assert "SSL_CERT_FILE" in failure.hint
    assert clock.slept == []


@pytest.mark.fault("refused")
@pytest.mark.parametrize(("kind", "hint"), [("expired", "renew"), ("other name", "name that the certificate")])
def test_a_wrong_certificate_says_what_is_wrong(
    context: Context, serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, hint: str
) -> None:
    hosts, days = (["127.0.0.1"], -1) if kind == "expired" else (["elsewhere.invalid"], 30)
    trust = Trust.make(tmp_path / "wrong", "test", *hosts, days=days)
    monkeypatch.setenv("SSL_CERT_FILE", str(trust.certificate))
    with serving(trust=trust) as site:
        failure = failure_of(context, site.direct)
    assert failure.reason is Reason.UNTRUSTED_CERTIFICATE
    assert hint in failure.hint


@pytest.mark.fault("survived")
def test_retry_after_holds_for_git_itself(context: Context, forge_root: Path, tmp_path: Path, clock: FakeClock) -> None:
    class Throttled(Fault):
        times = 1

        def git_refs(self, name: str) -> Reply:
            return self._busy(HTTPStatus.TOO_MANY_REQUESTS, 41) if self.strikes() else super().git_refs(name)

        def git_upload_pack(self, name: str, body: bytes) -> Reply:
            return self._busy(HTTPStatus.SERVICE_UNAVAILABLE, 43) if self.strikes() else super().git_upload_pack(name, body)

        def _busy(self, status: int, seconds: int) -> Reply:
            return Reply(status, {"Retry-After": str(seconds), "Content-Length": "0"})

    publish(forge_root, "bert", model_tree(tmp_path / "tree"))
    with Forge(forge_root, handler=Throttled) as forge:
        assert fetch(context, forge.url("bert")).files == 5
    assert [wait for wait in clock.slept if wait > 5] == [41, 43]


@pytest.mark.fault("survived")
def test_a_restarting_forge_is_outlasted(context: Context, forge_root: Path, tmp_path: Path, clock: FakeClock) -> None:
    """Git, then the batch request, then the object get 502 for two minutes."""

    class Restarting(ForgeHandler):
        until: dict[str, float] = {}  # noqa: RUF012

        def answer(self, body: bytes) -> Reply:
            kind = "batch" if self.path.endswith("/batch") else "object" if "/lfs/objects/" in self.path else "git"
            if clock.monotonic() < self.until.setdefault(kind, clock.monotonic() + 120):
                return Reply(HTTPStatus.BAD_GATEWAY, {"Content-Length": "0"})
            return super().answer(body)

    publish(forge_root, "bert", model_tree(tmp_path / "tree"))
    with Forge(forge_root, handler=Restarting) as forge:
        assert fetch(context, forge.url("bert")).files == 5
        assert len(object_requests(forge)) > 10
    assert clock.monotonic() > 360
