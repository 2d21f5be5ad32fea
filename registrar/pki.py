"""The deployment's certificate authority: X.509 certificates (RFC 5280) on P-256 keys, and their revocation.

An identity's name is its certificate's common name, and with Mosquitto's ``use_identity_as_username`` its
user name and client id. The authority's key can make every identity, so it is in one file of mode 0600 that
only the registrar and the administrator's commands read.

>>> authority = Authority.new("meter61850 test")
>>> issued = authority.issue("bridge", new_key().public_key(), days=90)
>>> common_name(issued)
'bridge'
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.contract.errors import ConfigurationError, ContractError
from broker.host_clock import warn_unless_kept

CA_DAYS = 10 * 365
SERVER_DAYS = 825
CLIENT_DAYS = 825
CRL_DAYS = CA_DAYS
"""An expired list would lock everybody out; each change makes a new one, and a rotation of the CA does."""
BACKDATED = timedelta(hours=1)
"""A meter's clock may be behind before it has reached a time server."""
MIN_RSA_BITS = 2048
MMS_RSA = "mms-rsa"
"""Name of the MMS bridge's second certificate, for clients that know only RSA."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh private key on P-256, which every TLS library of a small device knows."""
    return ec.generate_private_key(ec.SECP256R1())


def new_rsa_key() -> rsa.RSAPrivateKey:
    """A fresh RSA key, for a server whose clients know only RSA."""
    return rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS)


def key_pem(key: PrivateKey) -> bytes:
    """``key`` as unencrypted PKCS #8 PEM, for a file of mode 0600."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pem(thing: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """PEM text."""
    return thing.public_bytes(Encoding.PEM)


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name; ContractError if it has none, or several."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise ContractError(f"the subject {certificate.subject.rfc4514_string()!r} has not one common name")
    return str(names[0].value)


def checked_request(text: bytes) -> PublicKey:
    """The public key of a PEM signing request that is signed with that key; ContractError otherwise."""
    try:
        request = x509.load_pem_x509_csr(text)
        signed = request.is_signature_valid
        key = request.public_key()
    except (ValueError, InvalidSignature, TypeError) as error:
        raise ContractError(f"the signing request is not PKCS #10 in PEM: {error}") from error
    except UnsupportedAlgorithm as error:
        raise ContractError(f"the signing request has an unsupported key: {error}") from error
    if not signed:
        raise ContractError("the signing request is not signed with its own key")
    return checked_key(key)


def checked_key(key: object) -> PublicKey:
    """``key`` if it is strong enough: P-256 or larger, RSA from 2048 bits; ContractError otherwise."""
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= 256:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        return key
    raise ContractError(f"the key must be on P-256 or larger, or RSA from {MIN_RSA_BITS} bits")


@dataclass(frozen=True)
class Authority:
    """A certificate that may sign others, and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls, name: str) -> Authority:
        """A self-signed authority called ``name``."""
        warn_unless_kept("certificates")
        key = new_key()
        now = datetime.now(UTC)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(_subject(name))
            .issuer_name(_subject(name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + timedelta(days=CA_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, certificate: bytes, key: bytes) -> Authority:
        """From PEM; ConfigurationError if the two do not belong together or may not sign certificates."""
        try:
            loaded, private = x509.load_pem_x509_certificate(certificate), load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"the authority's certificate and key are not PEM: {error}") from error
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise ConfigurationError("the authority's key must be an elliptic curve's (P-256 or larger)")
        if private.public_key() != loaded.public_key():
            raise ConfigurationError("the authority's key does not belong to its certificate")
        try:
            may_sign = loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            may_sign = False
        if not may_sign:
            raise ConfigurationError("the authority's certificate may not sign others: basicConstraints CA")
        return cls(loaded, private)

    def issue(
        self, name: str, public_key: PublicKey, *, days: int = CLIENT_DAYS, hosts: Iterable[str] = ()
    ) -> x509.Certificate:
        """A certificate for ``name``: a server's if it has ``hosts`` (names, IP addresses), else a client's.

        It never outlives the authority.
        """
        names = [_general_name(host) for host in hosts]
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions: list[x509.ExtensionType] = [x509.ExtendedKeyUsage([purpose])]
        extensions += [x509.SubjectAlternativeName(names)] if names else []
        now = datetime.now(UTC)
        return self._sign(
            _subject(name), public_key, extensions, begin=now - BACKDATED, end=now + timedelta(days=days)
        )

    def renewed(self, old: x509.Certificate, *, days: int, now: datetime) -> x509.Certificate:
        """``old`` once more: the same name, key, purpose and begin, and ``days`` to live from ``now`` on.

        With the old begin a clock that is ahead makes no certificate that is good later only.
        """
        wanted = (x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
        extensions = [one.value for one in old.extensions if isinstance(one.value, wanted)]
        return self._sign(
            old.subject,
            checked_key(old.public_key()),
            extensions,
            begin=old.not_valid_before_utc,
            end=now + timedelta(days=days),
        )

    def has_issued(self, certificate: x509.Certificate) -> bool:
        """Whether it is signed with our key."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def _sign(
        self,
        subject: x509.Name,
        key: PublicKey,
        extensions: Iterable[x509.ExtensionType],
        *,
        begin: datetime,
        end: datetime,
    ) -> x509.Certificate:
        warn_unless_kept("certificates")
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(min(end, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def revocation_list(
        self, revoked: Iterable[tuple[int, datetime]], *, number: int
    ) -> x509.CertificateRevocationList:
        """The list (RFC 5280 clause 5) of ``revoked`` serial numbers and when; ``number`` only ever grows."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now - BACKDATED)
            .next_update(min(now + timedelta(days=CRL_DAYS), self.certificate.not_valid_after_utc))
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        for serial, moment in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(self.key, hashes.SHA256())


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
