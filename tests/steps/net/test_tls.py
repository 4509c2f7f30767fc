"""Which certificate authorities are trusted, and what is said of a variable that names none."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from steps.core.errors import Reason, SlipwayError
from steps.net.failures import lasting_failure
from steps.net.tls import bundle, bundle_file, certificate_error, certificate_error_in_text, client_context
from tests.servers.trust import Trust

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def body(pem: bytes) -> bytes:
    """What a certificate is by: its base64, whatever stands around it."""
    return b"".join(pem.split(b"-----")[2].split())


def in_bundle(certificate: Path, *of_tool: str) -> bool:
    return body(certificate.read_bytes()) in b"".join(bundle(*of_tool).split())


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_adds_authorities(monkeypatch: pytest.MonkeyPatch, trust: Trust, tmp_path: Path, name: str) -> None:
    assert bundle() == b""
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / "company.crt").write_bytes(b"A comment\r\n" + trust.certificate.read_bytes().replace(b"\n", b"\r\n"))
    monkeypatch.setenv(name, str(folder if name == "SSL_CERT_DIR" else trust.certificate))
    assert in_bundle(trust.certificate)
    assert bundle().count(b"BEGIN") > 20  # the system's are there, too
    assert any(each["subject"] == ((("commonName", "cloud-build-server"),),) for each in client_context().get_ca_certs())


@pytest.mark.fault("accepted")
def test_a_folder_may_be_a_bundle(monkeypatch: pytest.MonkeyPatch, trust: Trust, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(trust.certificate.read_bytes())
    (tmp_path / "b.txt").write_text("nothing")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path))
    assert in_bundle(trust.certificate)
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'missing'}:{tmp_path}")
    assert in_bundle(trust.certificate)


def test_file_and_folder_replace_the_system(monkeypatch: pytest.MonkeyPatch, trust: Trust, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trust.certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert bundle().count(b"BEGIN") == 1
    assert len(client_context().get_ca_certs()) == 1


def test_a_tool_has_variables_of_its_own(monkeypatch: pytest.MonkeyPatch, trust: Trust) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(trust.certificate))
    assert not in_bundle(trust.certificate)
    assert in_bundle(trust.certificate, "AWS_CA_BUNDLE")


def test_libraries_get_one_file(monkeypatch: pytest.MonkeyPatch, trust: Trust) -> None:
    system = bundle_file()
    assert system is None or Path(system).is_file()
    monkeypatch.setenv("SSL_CERT_FILE", str(trust.certificate))
    named = bundle_file()
    assert named is not None
    assert Path(named).read_bytes() == bundle()
    assert bundle_file() == named


def test_a_changed_file_is_read_again(monkeypatch: pytest.MonkeyPatch, trust: Trust, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(trust.certificate.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert bundle().count(b"BEGIN") == 1
    path.write_text("")
    with pytest.raises(SlipwayError, match="it is empty"):
        bundle()


@pytest.mark.fault("refused")
@pytest.mark.parametrize("name", VARIABLES)
@pytest.mark.parametrize("kind", ["missing", "empty", "text", "der", "damaged", "key"])
def test_an_unusable_file_is_named(monkeypatch: pytest.MonkeyPatch, trust: Trust, tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "authority.pem"
    pem = trust.certificate.read_bytes()
    contents = {
        "empty": b"\n",
        "text": b"<html>Log in</html>",
        "der": ssl.PEM_cert_to_DER_cert(pem.decode()),
        "damaged": pem.replace(b"MII", b"AAA", 1),
        "key": trust.key.read_bytes(),
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    monkeypatch.setenv(name, str(path))
    with pytest.raises(SlipwayError, match=f"{name} names {path} for certificate authorities") as caught:
        client_context()
    assert caught.value.reason is Reason.INVALID_INPUT
    assert name in caught.value.hint
    if kind == "der" and name != "SSL_CERT_DIR":
        assert "openssl x509" in caught.value.message


@pytest.mark.fault("accepted")
def test_an_empty_variable_names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    assert bundle() == b""
    assert bundle_file() is None or Path(str(bundle_file())).is_file()
    assert client_context().verify_mode is ssl.CERT_REQUIRED


def test_only_tls_errors_are_certificate_errors() -> None:
    assert certificate_error(OSError("x"), "A thing", "h") is None
    assert certificate_error(ssl.SSLEOFError(), "A thing", "h") is None
    failure = certificate_error(ssl.SSLError(), "A thing", "h")
    assert failure is not None
    assert failure.reason is Reason.SOURCE_PROTOCOL


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "fatal: unable to access 'https://h/': server certificate verification failed. CAfile: none CRLfile: none",
            "SSL_CERT_FILE",
        ),
        ("SSL certificate problem: unable to get local issuer certificate", "SSL_CERT_FILE"),
        ("SSL certificate problem: self-signed certificate in certificate chain", "SSL_CERT_FILE"),
        ("SSL certificate problem: certificate has expired", "renew"),
        ("SSL certificate problem: certificate is not yet valid", "clock"),
        ("SSL: certificate subject name (a) does not match target host name 'h'", "name that the certificate"),
        ("SSL: no alternative certificate subject name matches target host name 'h'", "name that the certificate"),
        (
            "Ssl handshake failed: SSL_ERROR_SSL: error:1000007d:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED",
            "SSL_CERT_FILE",
        ),
        ("Hostname Verification Check failed.", "name that the certificate"),
    ],
)
def test_a_programs_words_are_understood(words: str, hint: str) -> None:
    failure = certificate_error_in_text(words, "A thing", "h")
    assert failure is not None
    assert failure.reason is Reason.UNTRUSTED_CERTIFICATE
    assert failure.message.startswith("A thing: h shows no certificate that is trusted here")
    assert hint in failure.hint


def test_other_words_are_not_about_certificates() -> None:
    assert certificate_error_in_text("Connection refused", "A thing", "h") is None


def test_a_hint_names_what_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/company.pem")
    failure = certificate_error_in_text("certificate verify failed", "A thing", "h")
    assert failure is not None
    assert "REQUESTS_CA_BUNDLE" in failure.hint


@pytest.mark.fault("refused")
def test_a_name_that_urllib3_compares_is_permanent() -> None:
    from urllib3.exceptions import MaxRetryError, SSLError
    from urllib3.util.ssl_match_hostname import CertificateError

    found = CertificateError("hostname 'h' doesn't match 'other.example'")
    wrapped = MaxRetryError(None, "/", SSLError(found))  # type: ignore[arg-type]
    for error in (found, wrapped):
        failure = lasting_failure(error, "A thing", "h", None)
        assert failure is not None
        assert failure.reason is Reason.UNTRUSTED_CERTIFICATE
        assert "A thing: h shows no certificate that is trusted here (it is for other names)" in failure.message
        assert "Use the name" in failure.hint
    assert certificate_error(ValueError("x"), "A thing", "h") is None
