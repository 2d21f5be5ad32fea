"""Certificates for MMS over TLS (IEC 62351-3): the server's own, and the check of the clients'.

TLS 1.2 or later. A client's certificate is required. OpenSSL checks it against the CAs and the revocation
list, if there is one: without a current list of each CA no new client is accepted. Sessions are never
resumed, because this would skip the check. An accepted certificate can be checked again later: whether it has
been revoked since, or its CA is no longer among ours.

>>> load(TlsFiles(cert, key, ca, crl)).refuses(certificate)        # doctest: +SKIP
'its certificate is revoked'
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from broker.contract.errors import ConfigurationError
from broker.mqtt.identity import CIPHERS, check_secret, pem_text
from mms_bridge.settings import TlsFiles

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


class Certificate(NamedTuple):
    """What counts of a client's certificate."""

    name: str
    """Its common name; empty if it has none, or several."""
    fingerprint: str
    """SHA-256, hex."""
    issuer: bytes
    """DER of the issuer's name."""
    serial: int


@dataclass(frozen=True)
class Credentials:
    """One state of the files."""

    context: ssl.SSLContext
    issuers: frozenset[bytes]
    """Names of our CAs."""
    revoked: frozenset[tuple[bytes, int]]
    """Issuer and serial number."""
    crl_until: datetime | None
    """When the first of the revocation lists is out of date; None without a list, or without an end."""

    def refuses(self, certificate: Certificate) -> str:
        """Why the certificate does not count, or no longer; empty if it does."""
        if (certificate.issuer, certificate.serial) in self.revoked:
            return "its certificate is revoked"
        if certificate.issuer not in self.issuers:
            return "its certificate's CA is not ours"
        return ""


def load(files: TlsFiles, *, ciphers: str = CIPHERS) -> Credentials:
    """Read all of them; ConfigurationError names the file and what would be right."""
    for _, key in files.pairs:
        check_secret(key)
    authorities = _authorities(files.ca)
    lists = [] if files.crl is None else _lists(files.crl, authorities)
    return Credentials(
        _context(files, ciphers=ciphers),
        frozenset(ca.subject.public_bytes() for ca in authorities),
        frozenset((crl.issuer.public_bytes(), entry.serial_number) for crl in lists for entry in crl),
        min((until for crl in lists if (until := crl.next_update_utc)), default=None),
    )


def _context(files: TlsFiles, *, ciphers: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED
    doing = f"cipher list {ciphers!r}"
    try:
        context.set_ciphers(ciphers)
        for cert, key in files.pairs:  # OpenSSL keeps one for each kind of key
            doing = f"{cert} and {key} (a certificate and its own key, in PEM, without a passphrase)"
            context.load_cert_chain(cert, key, password="")
        doing = f"{files.ca} (CA certificates in PEM)"
        context.load_verify_locations(cadata=pem_text(files.ca))
        if files.crl is not None:
            doing = f"{files.crl} (revocation lists in PEM)"
            context.load_verify_locations(files.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"{doing}: {error}") from error
    return context


def _authorities(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} (CA certificates in PEM): {error}") from error


def _lists(file: Path, authorities: list[x509.Certificate]) -> list[x509.CertificateRevocationList]:
    """The revocation lists of a file, each signed by one of our CAs."""
    try:
        lists = [x509.load_pem_x509_crl(block) for block in _CRL.findall(file.read_bytes())]
        if not lists:
            raise ValueError("it has no revocation list")
        for crl in lists:
            if not any(_signed(crl, ca) for ca in authorities):
                raise ValueError(f"the list of {crl.issuer.rfc4514_string()!r} is not signed by a CA of ours")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file} (revocation lists in PEM): {error}") from error
    return lists


def _signed(crl: x509.CertificateRevocationList, ca: x509.Certificate) -> bool:
    if crl.issuer != ca.subject:
        return False
    try:
        return crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]  # TypeError says which
    except TypeError:
        return False


def read_certificate(der: bytes) -> Certificate:
    """A certificate that OpenSSL has verified; ValueError if it cannot be read all the same."""
    found = x509.load_der_x509_certificate(der)
    names = [str(name.value) for name in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    name = names[0] if len(names) == 1 and names[0].isprintable() else ""
    return Certificate(
        name, hashlib.sha256(der).hexdigest(), found.issuer.public_bytes(), found.serial_number
    )


def outdated(credentials: Credentials) -> bool:
    """Whether a revocation list has passed its nextUpdate: OpenSSL lets no new client in then."""
    return credentials.crl_until is not None and credentials.crl_until <= datetime.now(UTC)
