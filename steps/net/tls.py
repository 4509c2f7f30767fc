"""Certificates: which authorities are trusted, for every client alike, and the failure where a server's is not.

Trusted are the authorities of the system, and those in the files and folders that ``SSL_CERT_FILE``, ``SSL_CERT_DIR``,
``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` name; where both of the first two are set, they stand in place of the system's, as
with OpenSSL (https://docs.openssl.org/master/man3/SSL_CTX_set_default_verify_paths/). Each of the libraries and programs that
Slipway uses reads some of these and not others, and takes one file: it is given all authorities in one (``bundle_file``,
``bundle``).
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import ssl
import tempfile
from pathlib import Path
from typing import IO, cast

from steps.core.errors import Reason, SlipwayError

SYSTEM = ("SSL_CERT_FILE", "SSL_CERT_DIR")
VARIABLES = (*SYSTEM, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
MAX_BUNDLE = 32 << 20  # bytes of one file of authorities; the largest in use have half a megabyte
MAX_FOLDER = 10_000  # entries of a folder of authorities
_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----\s[A-Za-z0-9+/=\s]+?-----END (?:X509 |TRUSTED )?CERTIFICATE-----"
)
# Errors of TLS that come from the connection and not from the server's set-up: another try may succeed.
_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_DAMAGED = "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
# X509_V_ERR_* (https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/)
_TIME = {9, 10, 13, 14}
_NAME = {62, 63, 64}
# The words of Git, of curl with OpenSSL and with GnuTLS, and of gRPC.
_EXPIRED_WORDS = re.compile(r"(?i)expired|not yet valid|not activated|CERT_HAS_EXPIRED")
_NAME_WORDS = re.compile(
    r"(?i)certificate subject name|alternative certificate|does not match (?:target )?host|hostname mismatch"
    r"|Hostname Verification"
)
_CERTIFICATE_WORDS = re.compile(
    r"(?i)certificate verif|verification failed|SSL certificate problem|self[- ]signed|local issuer|unknown ca\b|not trusted"
    r"|CERTIFICATE_VERIFY_FAILED|SSL_CERTPROBLEM|peer certificate|issuer certificate"
)  # fmt: skip

_held: dict[bytes, tuple[str, IO[bytes]]] = {}


def named_authorities(*of_tool: str) -> dict[str, str]:
    """Which variables name authorities, with their values; ``of_tool`` are further ones, those of one client's own tool."""
    return {name: value for name in (*VARIABLES, *of_tool) if (value := os.environ.get(name, "").strip())}


def client_context() -> ssl.SSLContext:
    """What verifies the servers of Slipway's own HTTP client.

    Raises:
        SlipwayError: ``InvalidInput`` for a variable whose file or folder cannot be used.
    """
    return _context(_bundle(_stamps(named_authorities())))


def bundle(*of_tool: str) -> bytes:
    """All authorities that are trusted, in PEM; empty where no variable names any: programs then use the system's.

    Raises:
        SlipwayError: ``InvalidInput`` for a variable whose file or folder cannot be used.
    """
    return _bundle(_stamps(named_authorities(*of_tool)))


def bundle_file(*of_tool: str) -> str | None:
    """The same as a file for a library in this process; None where not even the system has one. Raises as ``bundle`` does."""
    data = bundle(*of_tool)
    if not data:
        system = ssl.get_default_verify_paths().openssl_cafile
        return system if Path(system).is_file() else None
    if data not in _held:
        _held[data] = _hold(data)
    return _held[data][0]


def certificate_error(error: BaseException, what: str, host: str) -> SlipwayError | None:
    """The failure for an error of TLS; None for other errors, and for a connection that was cut or damaged.

    It is permanent: the same certificate comes again. ``what`` names the thing that was requested.
    """
    if _is_other_name(error):
        return _untrusted(what, host, "name", "it is for other names")
    if isinstance(error, ssl.SSLCertVerificationError):
        kind = "time" if error.verify_code in _TIME else "name" if error.verify_code in _NAME else "authority"
        return _untrusted(what, host, kind, error.verify_message)
    reason = getattr(error, "reason", None)
    if not isinstance(error, ssl.SSLError) or isinstance(error, _CUT) or reason == _DAMAGED:
        return None
    return SlipwayError(
        Reason.SOURCE_PROTOCOL,
        f"{what}: TLS with {host} failed ({reason or 'without a reason'}).",
        hint="A registry that speaks plain HTTP is named in SLIPWAY_PLAIN_HTTP, another host in SLIPWAY_HTTP_HOSTS.",
    )


def certificate_error_in_text(text: str, what: str, host: str) -> SlipwayError | None:
    """The same for the words of a program or library that has only words for it, such as Git; None for other words."""
    if not (_CERTIFICATE_WORDS.search(text) or _NAME_WORDS.search(text)):
        return None
    kind = "time" if _EXPIRED_WORDS.search(text) else "name" if _NAME_WORDS.search(text) else "authority"
    return _untrusted(what, host, kind, {"time": "it is not valid at this time", "name": "it is for other names"}.get(kind, ""))


def _is_other_name(error: BaseException) -> bool:
    """Whether urllib3 has found that a certificate is for other names: botocore has it compare them in OpenSSL's place."""
    if not isinstance(error, ValueError):  # urllib3's error is one; most errors come here before it is imported
        return False
    from urllib3.util.ssl_match_hostname import CertificateError

    return isinstance(error, CertificateError)


def _untrusted(what: str, host: str, kind: str, detail: str) -> SlipwayError:
    if kind == "time":
        hint = f"Whoever runs {host} must renew its certificate; check this machine's clock, too."
    elif kind == "name":
        hint = f"Use the name that the certificate of {host} is for, or have whoever runs it add this one."
    elif named := ", ".join(named_authorities()):
        hint = f"Name the file of its certificate authority in SSL_CERT_FILE: what {named} names does not have it."
    else:
        hint = "Name the file of its certificate authority in SSL_CERT_FILE."
    text = f"{what}: {host} shows no certificate that is trusted here"
    return SlipwayError(Reason.UNTRUSTED_CERTIFICATE, f"{text} ({detail})." if detail else f"{text}.", hint=hint)


def _stamps(named: dict[str, str]) -> tuple[tuple[str, str, int], ...]:
    """What a bundle is made from, with a number that changes when a file does."""

    def stamp(path: str) -> int:
        try:
            return os.stat(path).st_mtime_ns
        except (OSError, ValueError):
            return 0

    return tuple((name, value, stamp(value)) for name, value in named.items())


@functools.lru_cache(maxsize=8)
def _bundle(stamps: tuple[tuple[str, str, int], ...]) -> bytes:
    named = {name: value for name, value, _ in stamps}
    if not named:
        return b""
    found: dict[bytes, None] = {}  # in order, each once
    if not all(name in named for name in SYSTEM):
        found |= dict.fromkeys(_system())
    for name, value in named.items():
        found |= dict.fromkeys(_read_named(name, value))
    return b"\n".join(found) + b"\n"


@functools.lru_cache(maxsize=8)
def _context(bundle: bytes) -> ssl.SSLContext:
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    # Companies' own authorities are often made without the extensions that RFC 5280 demands; Git and curl do not ask for them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if bundle:
        context.load_verify_locations(cadata=bundle.decode("ascii"))
    else:
        context.load_default_certs()
        folder = ssl.get_default_verify_paths().openssl_capath
        if Path(folder).is_dir():  # OpenSSL takes a variable that is set and empty for a folder without a name
            context.load_verify_locations(capath=folder)
    return context


def _read_named(name: str, value: str) -> list[bytes]:
    folders = [Path(each) for each in value.split(os.pathsep) if each] if name == "SSL_CERT_DIR" else [Path(value)]
    try:
        if name == "SSL_CERT_DIR" or folders[0].is_dir():
            if not any(folder.is_dir() for folder in folders):
                raise _unusable(name, value, "there is no such folder")
            return [each for folder in folders if folder.is_dir() for each in _in_folder(folder)]
        data = _read(folders[0])
    except (OSError, ValueError) as error:
        raise _unusable(name, value, getattr(error, "strerror", None) or "it cannot be read") from None
    found = _CERTIFICATE.findall(data)
    if not found:
        what = "it is empty" if not data.strip() else "it has no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        if data[:2] == b"\x30\x82":
            what = "it is a certificate in DER; `openssl x509 -inform der -in FILE -out FILE.pem` makes PEM of it"
        raise _unusable(name, value, what)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=b"\n".join(found).decode("ascii"))
    except ssl.SSLError as error:
        raise _unusable(name, value, f"a certificate in it is damaged ({error.reason or 'unreadable'})") from None
    return found


def _unusable(name: str, value: str, why: str) -> SlipwayError:
    return SlipwayError(
        Reason.INVALID_INPUT,
        f"{name} names {value} for certificate authorities, and that cannot be used: {why}.",
        hint=f"Set {name} to a {'folder' if name == 'SSL_CERT_DIR' else 'file'} of certificates in PEM, or unset it.",
    )


def _system() -> list[bytes]:
    paths = ssl.get_default_verify_paths()
    try:
        if found := _CERTIFICATE.findall(_read(Path(paths.openssl_cafile))):
            return found
    except OSError:
        pass
    folder = Path(paths.openssl_capath)
    return _in_folder(folder) if folder.is_dir() else []


def _in_folder(folder: Path) -> list[bytes]:
    """The certificates in a folder's files, whatever their names: OpenSSL wants them to be hashes, which people forget."""
    found: dict[bytes, None] = {}
    for number, path in enumerate(sorted(folder.iterdir())):
        if number == MAX_FOLDER:
            break
        try:
            if path.is_file():
                found |= dict.fromkeys(_CERTIFICATE.findall(_read(path)))
        except OSError:
            continue
    return list(found)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BUNDLE)


def _hold(data: bytes) -> tuple[str, IO[bytes]]:
    """A file with these bytes, for as long as the process lives; where the system can, one that no folder holds."""
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("certificate-authorities"), "w+b")
        name = f"/proc/self/fd/{file.fileno()}"
    else:
        file = cast(IO[bytes], tempfile.NamedTemporaryFile(prefix="slipway-authorities-", suffix=".pem"))  # noqa: SIM115
        name = file.name
    atexit.register(file.close)
    file.write(data)
    file.flush()
    return name, file
