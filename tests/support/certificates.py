"""A certificate authority for the tests: good, expired and foreign certificates, and revocation.

>>> ca = Authority(tmp_path)                        # doctest: +SKIP
>>> scada = ca.issue("control-centre")              # doctest: +SKIP
>>> ca.revoke(scada)                                # doctest: +SKIP
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)
HOST = IPv4Address("127.0.0.1")


def name(common_name: str) -> x509.Name:
    """A subject of one attribute."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass
class Issued:
    """A certificate and its key, as files."""

    cert: Path
    key: Path
    certificate: x509.Certificate

    @property
    def fingerprint(self) -> str:
        """SHA-256, hex."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()


@dataclass
class Authority:
    """Issues into ``folder``; ``cert`` and ``crl`` are files there."""

    folder: Path
    common_name: str = "test CA"
    revoked: list[x509.RevokedCertificate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.cert, self.crl = self.folder / "ca.pem", self.folder / "ca.crl"
        self._certificate = self._sign(name(self.common_name), self._key.public_key(), days=365, ca=True)
        self.cert.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        self.write_crl()

    def issue(self, common_name: str, *, days: float = 30, rsa_key: bool = False) -> Issued:
        """A certificate for server or client, good for 127.0.0.1; with negative ``days`` it has expired."""
        key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name(common_name), key.public_key(), days=days)
        stem = f"{common_name}-{certificate.serial_number:x}"[:60]
        issued = Issued(self.folder / f"{stem}.pem", self.folder / f"{stem}.key", certificate)
        issued.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        issued.key.chmod(0o600)
        return issued

    def revoke(self, issued: Issued) -> None:
        """It is on the list from now on."""
        entry = x509.RevokedCertificateBuilder()
        entry = entry.serial_number(issued.certificate.serial_number).revocation_date(datetime.now(UTC))
        self.revoked.append(entry.build())
        self.write_crl()

    def write_crl(self, *, days: float = 30) -> None:
        """The list anew, whole at once; out of date with negative ``days``."""
        now = datetime.now(UTC)
        crl = x509.CertificateRevocationListBuilder().issuer_name(self._certificate.subject)
        crl = crl.last_update(now - 100 * DAY).next_update(now + days * DAY)
        for entry in self.revoked:
            crl = crl.add_revoked_certificate(entry)
        replace(self.crl, crl.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey,
        *,
        days: float,
        ca: bool = False,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name(self.common_name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 200 * DAY)
            .not_valid_after(now + days * DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(HOST)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def replace(file: Path, content: bytes) -> None:
    """``content`` in the place of what was there, at once."""
    new = file.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, file)
