"""Certificates: which authorities are trusted, and the failure where a server's is not.

Python trusts the authorities of the system, or those of the file and folder that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name
(https://docs.openssl.org/master/man3/SSL_CTX_load_verify_locations/).
"""

from __future__ import annotations

import os
import ssl

from steps.core.errors import Reason, SlipwayError

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO")
# Errors of TLS that come from the connection and not from the server's set-up: another try may succeed.
_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
_DAMAGED = "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"


def certificate_environment() -> dict[str, str]:
    """The variables that give another program, such as Git, the same certificate authorities."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def certificate_error(error: BaseException, what: str, host: str) -> SlipwayError | None:
    """The failure for an error of TLS; None for other errors, and for a connection that was cut or damaged.

    It is permanent: the same certificate comes again. ``what`` names the thing that was requested.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return SlipwayError(
            Reason.SOURCE_PROTOCOL,
            f"{what}: {host} shows no certificate that is trusted here ({error.verify_message}).",
            hint="Name the file of its certificate authority in SSL_CERT_FILE.",
        )
    if not isinstance(error, ssl.SSLError) or isinstance(error, _CUT) or error.reason == _DAMAGED:
        return None
    return SlipwayError(
        Reason.SOURCE_PROTOCOL,
        f"{what}: TLS with {host} failed ({error.reason or 'without a reason'}).",
        hint="A registry that speaks plain HTTP is named in SLIPWAY_PLAIN_HTTP, another host in SLIPWAY_HTTP_HOSTS.",
    )
