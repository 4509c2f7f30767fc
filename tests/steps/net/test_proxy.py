"""Which proxy an address gets, and what another program is given."""

from __future__ import annotations

import pytest

from steps.net.proxy import proxy_environment, proxy_for
from steps.net.tls import certificate_environment


@pytest.mark.parametrize(
    ("scheme", "host", "proxy"),
    [
        ("https", "example.org", "http://secure.invalid:3128"),
        ("http", "example.org", "http://plain.invalid:3128"),
        ("ftp", "example.org", ""),
        ("https", "hub.internal", ""),
        ("https", "sub.hub.internal:8443", ""),
        ("https", "thub.internal", "http://secure.invalid:3128"),
        ("https", "127.0.0.1:5000", ""),
        ("https", "127.0.0.1:5001", "http://secure.invalid:3128"),
    ],
)
def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch, scheme: str, host: str, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", "http://secure.invalid:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://plain.invalid:3128")
    monkeypatch.setenv("no_proxy", "hub.internal, 127.0.0.1:5000")
    assert proxy_for(scheme, host) == proxy


def test_no_proxy_is_named_by_default() -> None:
    assert proxy_for("https", "example.org") == ""
    assert proxy_environment() == {}


def test_another_program_gets_the_same_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure.invalid:3128")
    monkeypatch.setenv("no_proxy", "hub.internal")
    monkeypatch.setenv("all_proxy", "socks5://other.invalid")
    assert proxy_environment() == {"https_proxy": "http://secure.invalid:3128", "no_proxy": "hub.internal"}


def test_another_program_gets_the_same_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/company.pem")
    assert certificate_environment() == {"SSL_CERT_FILE": "/etc/company.pem"}
