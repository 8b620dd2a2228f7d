# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate authority of the plane's own, and a server certificate by it, in files beside the data file."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from paletteops_plane.plane import beside, write_private

_VALID = timedelta(days=3650)
_RENEW_BEFORE = timedelta(days=30)


def certificate_files(data: Path, host: str) -> tuple[Path, Path, Path]:
    """Files of the authority's certificate, the server's certificate and its key; made where they do not serve.

    The server's certificate names ``localhost``, the loopback addresses and the host that is listened on.
    """
    authority, authority_key = beside(data, ".ca.pem"), beside(data, ".ca.key.pem")
    certificate, key = beside(data, ".tls.pem"), beside(data, ".tls.key.pem")
    if not (authority.exists() and authority_key.exists()):
        _make_authority(authority, authority_key)
        certificate.unlink(missing_ok=True)
    if not (certificate.exists() and key.exists()) or not _serves(certificate, host):
        _make_certificate(certificate, key, authority, authority_key, host)
    return authority, certificate, key


def _names(host: str) -> list[x509.GeneralName]:
    hosts = dict.fromkeys(["localhost", "127.0.0.1", "::1", host])
    names: list[x509.GeneralName] = []
    for name in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            names.append(x509.DNSName(name))
    return names


def _serves(certificate: Path, host: str) -> bool:
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    if found.not_valid_after_utc - datetime.now(UTC) < _RENEW_BEFORE:
        return False
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return all(name in names for name in _names(host))


def _builder(subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _make_authority(certificate: Path, key_file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = "paletteops-plane authority"
    made = (
        _builder(subject, _name(subject), key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_file, key)
    write_private(certificate, made.public_bytes(serialization.Encoding.PEM).decode())
    # for clients, which may be other users
    certificate.chmod(0o644)


def _make_certificate(certificate: Path, key_file: Path, authority: Path, authority_key: Path, host: str) -> None:
    issuer = x509.load_pem_x509_certificate(authority.read_bytes())
    issuer_key = serialization.load_pem_private_key(authority_key.read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder("paletteops-plane", issuer.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(host)), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, hashes.SHA256())
    )
    _write_key(key_file, key)
    write_private(certificate, made.public_bytes(serialization.Encoding.PEM).decode())


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(path, pem.decode())
