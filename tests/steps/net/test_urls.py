"""The one parser of addresses: what it lets through means the same to every library that sees it afterwards."""

from __future__ import annotations

import re
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from urllib3.util import parse_url

from steps.core.errors import Reason, SlipwayError
from steps.net.urls import MAX_URL, Url, check_hop, check_source, parse

BAD_SOURCES = {
    "": "not an https:// address",
    "bert-base-uncased": "not an https:// address",
    "ext::sh -c id": "white space",
    "ext::sh": "not an https:// address",
    "file:///etc": "file:// is not supported",
    "FILE:///etc": "FILE:// is not supported",
    "ssh://git@example.invalid/x": "ssh:// is not supported",
    "git@example.invalid:x/y.git": "not an https:// address",
    "git://example.invalid/x": "git:// is not supported",
    "HTTPS://example.invalid/x": "HTTPS:// is not supported",
    "https:/example.invalid/x": "not an https:// address",
    "-uroot": "like an option",
    "--upload-pack=touch": "like an option",
    "https://example.invalid/x\n": "white space or a control character",
    "https://example.invalid/\x1b[2J": "white space or a control character",
    " https://example.invalid/x": "white space",
    "https://example.invalid/a b": "white space",
    "https://user@example.invalid/x": "a user name or a password",
    "https://user:pa55@example.invalid/x": "a user name or a password",
    "https://user:pa55@example.invalid/x?y": "no query",
    "https://example.invalid@127.0.0.1/x": "a user name or a password",
    "https://example.invalid\\@127.0.0.1/x": "a user name or a password",
    "https://example.invalid/$HOME": "plain address",
    "https://example.invalid/`id`": "plain address",
    "https://example.invalid/{x}": "plain address",
    "https://example.invalid/x?token=pa55": "no query",
    "https://example.invalid/x#y": "plain address",
    "https://example.invalid/x%": "plain address",
    "https://example.invalid/x%0": "plain address",
    "https://example.invalid": "names a host but not a repository",
    "https://example.invalid//": "names a host but not a repository",
    "https://example.invalid/a/../b": "'.' or '..'",
    "https://example.invalid/a/%2e%2E/b": "'.' or '..'",
    "https://example.invalid:0/x": "no port 0",
    "https://example.invalid:65536/x": "no port 65536",
    "https://example.invalid:/x": "plain address",
    "https://example.invalid:x/x": "plain address",
    "https://exämple.invalid/x": "plain address",
    "https://example..invalid/x": "plain address",
    "https://-example.invalid/x": "plain address",
    f"https://{'a' * 64}.invalid/x": "plain address",
    "https:///x": "plain address",
    "https://[::1/x": "plain address",
    "https://[1::2::3]/x": "different ways",
    "https://127.1/x": "different ways",
    "https://0x7f000001/x": "different ways",
    "https://2130706433/x": "different ways",
    "https://0177.0.0.1/x": "different ways",
    "https://127.0.0.1.1/x": "different ways",
    "http://example.invalid/x": "plain http reaches only this machine",
    "http://10.0.0.1/x": "plain http reaches only this machine",
    "http://localhost.example.invalid/x": "plain http reaches only this machine",
    "https://example.invalid/" + "x" * MAX_URL: "longer than",
}


@pytest.mark.parametrize(("source", "says"), BAD_SOURCES.items(), ids=[repr(source)[:60] for source in BAD_SOURCES])
def test_a_bad_source_is_refused_without_its_secrets(source: str, says: str) -> None:
    with pytest.raises(SlipwayError) as caught:
        check_source(source)
    assert caught.value.reason is Reason.INVALID_SOURCE
    assert says in caught.value.message
    assert "https://" in caught.value.hint
    assert "pa55" not in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("source", "is_read_as"),
    [
        ("https://huggingface.co/a/b", "https://huggingface.co/a/b"),
        ("https://Example.Invalid:443/A/b.git/", "https://example.invalid/A/b.git"),
        ("https://example.invalid:8443/a~b/c%20d", "https://example.invalid:8443/a~b/c%20d"),
        ("http://127.0.0.1:8000/x.git", "http://127.0.0.1:8000/x.git"),
        ("http://localhost/x", "http://localhost/x"),
        ("http://[::1]:3000/x", "http://[::1]:3000/x"),
        ("https://[2001:DB8::1]/x", "https://[2001:db8::1]/x"),
        ("https://192.0.2.7/x", "https://192.0.2.7/x"),
    ],
)
def test_a_good_source_is_normalized(source: str, is_read_as: str) -> None:
    assert str(check_source(source)) == is_read_as


@pytest.mark.parametrize(
    ("allowed", "address", "passes"),
    [
        ("forge.internal", "http://forge.internal/x", True),
        ("forge.internal", "http://forge.internal:8080/x", True),
        ("other, Forge.internal:8080", "http://forge.internal:8080/x", True),
        ("forge.internal:8080", "http://forge.internal/x", False),
        ("internal", "http://forge.internal/x", False),
        ("", "http://forge.internal/x", False),
    ],
)
def test_plain_http_reaches_the_hosts_that_are_named(
    monkeypatch: pytest.MonkeyPatch, allowed: str, address: str, passes: bool
) -> None:
    monkeypatch.setenv("SLIPWAY_HTTP_HOSTS", allowed)
    if passes:
        assert str(check_source(address)) == address
    else:
        with pytest.raises(SlipwayError, match="plain http") as caught:
            check_source(address)
        assert "SLIPWAY_HTTP_HOSTS" in caught.value.hint


PUBLIC, HERE = parse("https://example.invalid/x"), parse("http://127.0.0.1:8000/x")


@pytest.mark.parametrize(
    "hop",
    [
        "https://127.0.0.1/x",
        "https://127.9.9.9/x",
        "https://localhost/x",
        "https://LOCALHOST:8443/x",
        "https://db.localhost/x",
        "https://0.0.0.0/x",
        "https://[::]/x",
        "https://[::1]/x",
        "https://[0:0:0:0:0:0:0:1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[::ffff:7f00:1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/x",
        "https://[fe80::1]/x",
        "http://127.0.0.1/x",
        "http://example.invalid/x",
        "https://127.1/x",
        "https://2130706433/x",
        "ftp://example.invalid/x",
        "file:///etc/passwd",
        "/relative",
        "https://user:pa55@example.invalid/x",
    ],
)
def test_a_redirect_into_this_machine_is_refused(hop: str) -> None:
    with pytest.raises(SlipwayError, match=r"^SourceProtocol: example\.invalid redirects to a refused address: ") as caught:
        check_hop(hop, PUBLIC)
    assert "pa55" not in caught.value.message


def test_a_refused_redirect_hides_its_signature() -> None:
    with pytest.raises(SlipwayError) as caught:
        check_hop("http://cdn.example.invalid/x?signature=pa55", PUBLIC)
    assert "pa55" not in caught.value.message
    assert "http://cdn.example.invalid/x" in caught.value.message
    assert "SLIPWAY_HTTP_HOSTS" in caught.value.hint


def test_hops_that_servers_really_make_are_followed() -> None:
    signed = (
        "https://cdn.example.invalid/ab/cd?X-Amz-Date=2026&response-content-disposition=inline%3B+filename%2A%3DUTF-8%27%27m"
    )
    for hop in (signed, signed + "&Policy=" + "A" * 4000 + "~_-", "https://example.invalid:8443/y"):
        assert str(check_hop(hop, PUBLIC)) == hop
    for hop in ("http://localhost:9000/y", "https://127.0.0.1/y", "https://example.invalid/y"):
        assert str(check_hop(hop, HERE)) == hop


def test_credentials_are_bound_to_scheme_host_and_port() -> None:
    origins = {parse(f"{start}/x").origin for start in ("https://a.invalid", "https://A.invalid:443", "https://a.invalid:444")}
    assert origins == {"https://a.invalid", "https://a.invalid:444"}
    assert Url("http", "127.0.0.1", 80, "/").origin == "http://127.0.0.1"


text_near_addresses = st.one_of(
    st.text(max_size=40),
    st.from_regex(r"https?://[a-zA-Z0-9.:@\[\]%_-]{0,20}(/[ -~]{0,20})?", fullmatch=True),
    st.from_regex(r"https?://([a-z0-9-]{1,8}\.){0,3}[a-z0-9]{1,5}(:[0-9]{1,6})?/[a-zA-Z0-9._~%?&=/;@:-]{0,30}", fullmatch=True),
    st.builds("https://{}/x".format, st.ip_addresses(v=4)),
    st.builds("https://[{}]:99/x".format, st.ip_addresses(v=6)),
)


@pytest.mark.slow
@given(text_near_addresses)
@example("https://a.invalid\\.b.invalid/x")
@example("https://a.invalid:80:90/x")
@example("https://[::ffff:127.0.0.1]:1/x")
@example("https://a.invalid/x//y/;z@w:1")
@example("https://a.invalid/%0a")
def test_other_parsers_agree_on_accepted_addresses(text: str) -> None:
    try:
        url = parse(text)
    except SlipwayError as error:
        if error.reason is Reason.INVALID_SOURCE:
            return
        raise
    for address in (text, str(url)):
        standard, pool = urllib.parse.urlsplit(address), parse_url(address)
        default = {"http": 80, "https": 443}[url.scheme]
        assert standard.scheme == pool.scheme == url.scheme
        assert standard.hostname == url.host.strip("[]")
        assert (pool.host or "").strip("[]") == url.host.strip("[]")
        assert (standard.port or default) == (pool.port or default) == url.port
        assert standard.username is standard.password is pool.auth is None
        assert (pool.path or "/") == re.sub("%..", lambda escape: escape[0].upper(), url.path)
    assert parse(str(url)) == url
    assert re.fullmatch(r"[!-~]+", str(url))
