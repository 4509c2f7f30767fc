"""Which proxy an address gets, and what another program is given."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.errors import Reason, SlipwayError
from steps.net.proxy import proxy_for

SECRET = "hush/@:h"


def host_of_proxy(address: str) -> str | None:
    proxy = proxy_for(address)
    return proxy.address if proxy else None


@pytest.mark.parametrize(
    ("address", "proxy"),
    [
        ("https://example.org", "http://secure.invalid:3128"),
        ("http://example.org/x?y", "http://plain.invalid:3128"),
        ("ftp://example.org", None),
        ("https://hub.internal/x", None),
        ("https://sub.hub.internal:8443", None),
        ("https://thub.internal", "http://secure.invalid:3128"),
        ("https://192.0.2.7:5000", None),
        ("https://192.0.2.7:5001", "http://secure.invalid:3128"),
    ],
)
def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch, address: str, proxy: str | None) -> None:
    monkeypatch.setenv("https_proxy", "http://secure.invalid:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://plain.invalid:3128")
    monkeypatch.setenv("no_proxy", "hub.internal, 192.0.2.7:5000")
    assert host_of_proxy(address) == proxy


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    ("value", "address", "user", "password"),
    [
        ("proxy:3128", "http://proxy:3128", "", ""),
        ("proxy", "http://proxy:1080", "", ""),
        ("http://proxy", "http://proxy:1080", "", ""),
        ("https://proxy", "https://proxy:443", "", ""),
        (" http://proxy:3128/ ", "http://proxy:3128", "", ""),
        ("HTTP://Proxy:3128", "http://proxy:3128", "", ""),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080", "", ""),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080", "", ""),
        ("my_proxy.corp:3128", "http://my_proxy.corp:3128", "", ""),
        ("http://user:p%40ss@proxy:3128", "http://proxy:3128", "user", "p@ss"),
        ("user:p%40ss@proxy:3128", "http://proxy:3128", "user", "p@ss"),
        ("http://user:p@ss@proxy:3128", "http://proxy:3128", "user", "p@ss"),
        ("http://user@proxy:3128", "http://proxy:3128", "user", ""),
        ("http://user:@proxy:3128", "http://proxy:3128", "user", ""),
        ("http://DOM%5Cuser:p%3Ass%2F@proxy:3128", "http://proxy:3128", "DOM\\user", "p:ss/"),
        ("http://us%C3%A9r:p%C3%A4ss@proxy:3128", "http://proxy:3128", "usér", "päss"),
    ],
)
def test_a_proxy_is_read_as_curl_does(
    monkeypatch: pytest.MonkeyPatch, value: str, address: str, user: str, password: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", value)
    proxy = proxy_for("https://example.org")
    assert proxy is not None
    assert (proxy.address, proxy.username, proxy.password) == (address, user, password)
    assert bool(proxy.headers) == bool(user)
    assert not password or password not in f"{proxy} {proxy!r}"
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert proxy_for("https://example.org") == proxy


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"ALL_PROXY": "a:1"}, "http://a:1"),
        ({"all_proxy": "a:1", "ALL_PROXY": "b:1"}, "http://a:1"),
        ({"ALL_PROXY": "a:1", "HTTPS_PROXY": "b:1"}, "http://b:1"),
        ({"https_proxy": "a:1", "HTTPS_PROXY": "b:1"}, "http://a:1"),
        ({"https_proxy": "", "HTTPS_PROXY": "b:1", "ALL_PROXY": "c:1"}, None),
        ({"HTTPS_PROXY": " "}, None),
        ({"HTTP_PROXY": "a:1"}, None),
        ({"HTTPS_PROXY": "a:1", "NO_PROXY": "example.org"}, None),
        ({"HTTPS_PROXY": "a:1", "no_proxy": "", "NO_PROXY": "example.org"}, "http://a:1"),
        ({"ALL_PROXY": "socks5://a:1", "HTTPS_PROXY": "b:1"}, "http://b:1"),
        ({"ALL_PROXY": "socks5://a:1", "NO_PROXY": "example.org"}, None),
    ],
)
def test_variables_have_an_order(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], proxy: str | None) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert host_of_proxy("https://example.org") == proxy


def test_a_cgi_program_has_no_upper_case_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "a:1")
    assert host_of_proxy("http://example.org") == "http://a:1"
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    assert host_of_proxy("http://example.org") is None


@pytest.mark.fault("accepted")
@pytest.mark.parametrize(
    ("listing", "address", "excluded"),
    [
        ("*", "https://example.org", True),
        ("a.example, *", "https://example.org", True),
        (".example.org", "https://example.org", True),
        (".example.org", "https://git.example.org", True),
        ("*.example.org", "https://git.example.org", True),
        ("example.org.", "https://example.org", True),
        ("EXAMPLE.ORG", "https://Example.Org./x", True),
        ("other.example  example.org", "https://example.org", True),
        ("example.org", "https://notexample.org", False),
        ("example.org:443", "https://example.org", True),
        ("example.org:443", "https://example.org:8443", False),
        ("https://example.org", "https://example.org", True),
        ("http://example.org", "https://example.org", False),
        ("all://example.org/", "https://example.org", True),
        ("10.0.0.0/8", "https://10.20.30.40", True),
        ("10.0.0.0/8", "https://11.0.0.1", False),
        ("10.1.2.3/8", "https://10.20.30.40", True),
        ("10.0.0.0/8", "https://10.example.org", False),
        ("10.0.0.0/99,x/y,/,:,[,]:1,*.,.", "https://10.0.0.1", False),
        ("0.0.1", "https://10.0.0.1", False),
        ("fd00::/8", "https://[fd12::1]/x", True),
        ("[fd00::]/8", "https://[fd12::1]/x", True),
        ("2001:db8::1", "https://[2001:DB8:0::1]", True),
        ("[2001:db8::1]", "https://[2001:db8::1]:8443", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]", False),
        ("192.0.2.7", "https://[::ffff:192.0.2.7]", True),
    ],
)
def test_no_proxy_is_read_as_curl_does(monkeypatch: pytest.MonkeyPatch, listing: str, address: str, excluded: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", listing)
    assert (proxy_for(address) is None) == excluded


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "git.localhost", "127.0.0.1", "127.9.9.9:5000", "[::1]:80", "0.0.0.0", "[::ffff:127.0.0.1]"],
)
def test_this_machine_has_no_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://other.invalid")
    assert proxy_for(f"https://{host}/x") is None


@pytest.mark.fault("refused")
@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h", "SOCKS5", "socks"])
def test_a_socks_proxy_is_told_plainly(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:hush@proxy.invalid:1080")
    with pytest.raises(SlipwayError, match=r"ALL_PROXY names a SOCKS proxy for example\.org") as caught:
        proxy_for("https://example.org/x")
    assert caught.value.reason is Reason.INVALID_INPUT
    assert "HTTP proxy" in caught.value.hint
    assert "NO_PROXY" in caught.value.hint
    assert "hush" not in str(caught.value) + caught.value.hint


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "value",
    [
        "http://",
        "://x",
        "ftp://hush:1",
        "http://user:hush@",
        "http://a:99999",
        "http://a:0",
        "http://a:b",
        "http://hu sh:1",
        "a:1,b:2",
    ],
)
def test_a_broken_proxy_is_not_quoted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("https_proxy", value)
    with pytest.raises(SlipwayError, match="https_proxy is not the address of a proxy") as caught:
        proxy_for("https://example.org/x")
    assert caught.value.reason is Reason.INVALID_INPUT
    assert "percent-encoded" in caught.value.hint
    assert "hush" not in str(caught.value) + caught.value.hint


@given(st.text(max_size=60).filter(lambda text: "\0" not in text and text.isprintable()))
def test_no_value_breaks_the_choice(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HTTPS_PROXY", "NO_PROXY"):
            patch.setenv(name, text.encode("utf-8", "replace").decode())
        with contextlib.suppress(SlipwayError):
            proxy_for("https://example.org/x")


def test_no_proxy_is_named_by_default() -> None:
    assert proxy_for("https://example.org") is None


@pytest.mark.parametrize(
    ("status", "says"), [(407, "asks for a user and a password"), (403, "does not let the request through")]
)
def test_a_refusal_names_the_variable(monkeypatch: pytest.MonkeyPatch, status: int, says: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "secure.invalid:3128")
    proxy = proxy_for("https://example.org/x")
    assert proxy is not None
    failure = proxy.refused("model.safetensors", "example.org:8443", status)
    assert failure.reason is Reason.PROXY_REFUSED
    assert says in failure.message
    assert "the proxy secure.invalid:3128 (HTTPS_PROXY), by which example.org:8443 is reached" in failure.message
    assert "HTTPS_PROXY" in failure.hint
