"""A lane's certificates: made by itself, trusted because they are pinned or on the roster."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from allegro.core.base.errors import ConfigError

VALID_DAYS = 3650


def make_certificate(
    cert_file: Path, key_file: Path, name: str, now_s: float, host: str = ""
) -> None:
    """Write a self-signed certificate and its key (0600). It is trusted by its pin alone.

    With `host` (an address or a name) it says so, for peers that check whom they called.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"allegro lane {name}")])
    at = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - datetime.timedelta(days=1))
        .not_valid_after(at + datetime.timedelta(days=VALID_DAYS))
    )
    if host:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host)]), critical=False)
    certificate = builder.sign(key, SHA256())
    key_file.touch(mode=0o600)
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host)


def names_host(cert_file: Path, host: str) -> bool:
    """Say whether a certificate was made for this address or name."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return _host(host) in list(found.value)


def pin_of(cert_file: Path) -> bytes:
    """Return the SHA-256 of a certificate. Raises ConfigError."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError((f"{cert_file.name}: not a certificate: {error}",)) from error
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def server_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """Return a TLS 1.3 server context. Raises ConfigError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError((f"{cert_file.name}: cannot be used: {error}",)) from error
    return context
