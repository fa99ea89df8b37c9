"""TLS of the HTTP port: a given certificate, or one of our own for trying things out."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography import x509

LIFETIME = datetime.timedelta(days=90)


class CertificateError(Exception):
    """The certificate or key cannot be used; the text is one sentence."""


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """A TLS 1.2+ server context. Raises CertificateError."""
    for path, what in ((cert, "certificate"), (key, "key")):
        try:
            path.open("rb").close()
        except OSError as error:
            raise CertificateError(f"The TLS {what} {path} cannot be read: {error.strerror}.") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise CertificateError(f"The TLS certificate {cert} and key {key} do not work together: {reason}.") from None
    return context


def self_signed_context(names: Iterable[str]) -> ssl.SSLContext:
    """A context with a certificate made now for these names and addresses; its key is never kept on disk."""
    with tempfile.TemporaryDirectory(prefix="parlour-tls-") as folder:
        cert, key = Path(folder) / "cert.pem", Path(folder) / "key.pem"
        key.touch(mode=0o600)
        cert_pem, key_pem = self_signed(names, datetime.datetime.now(datetime.UTC))
        cert.write_bytes(cert_pem)
        key.write_bytes(key_pem)
        return server_context(cert, key)


def self_signed(names: Iterable[str], now: datetime.datetime) -> tuple[bytes, bytes]:
    """Certificate and key in PEM, EC P-256, good for 90 days."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Parlour, self-signed")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_alternative_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def own_names(host: str, addresses: Iterable[str]) -> list[str]:
    """What a self-signed certificate is for: this host by the names it may be called by."""
    names = ["localhost", "127.0.0.1", "::1", *addresses, socket.gethostname()]
    if not _is_wildcard(host):
        names.append(host)
    return list(dict.fromkeys(name for name in names if name.isascii() and name))


def _is_wildcard(host: str) -> bool:
    return host in {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound


def _alternative_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
