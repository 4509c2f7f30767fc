"""What client and server of a Google API need to trust each other on loopback: a certificate, and a service account's key."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Trust:
    """A certificate that is its own authority, its key, a service account's key file and the key that proves its tokens."""

    certificate: Path
    key: Path
    credentials: Path
    public_key: bytes

    @classmethod
    def make(cls, folder: Path, project: str, *hosts: str, days: int = 30) -> Trust:
        """Make all of it in ``folder``; the certificate is for ``hosts``, until so many days from now."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.x509.oid import NameOID

        def pem(key: rsa.RSAPrivateKey) -> bytes:
            kind = serialization.PrivateFormat.PKCS8
            return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())

        folder.mkdir(parents=True, exist_ok=True)
        served, account = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cloud-build-server")])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(served.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        )
        trust = cls(
            folder / "certificate.pem",
            folder / "key.pem",
            folder / "credentials.json",
            account.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
        trust.certificate.write_bytes(builder.sign(served, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        trust.key.write_bytes(pem(served))
        described = {
            "type": "service_account",
            "project_id": project,
            "private_key_id": "1",
            "private_key": pem(account).decode(),
            "client_email": f"slipway@{project}.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": "https://127.0.0.1:1/token",  # nobody asks there: the client signs its tokens itself
        }
        trust.credentials.write_text(json.dumps(described))
        return trust


def _alternative(host: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
