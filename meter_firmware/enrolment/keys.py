"""The meter's own key: made and kept here; only a signing request leaves the meter.

>>> key = new_key()
>>> load(key) is not None and "REQUEST" in request("3f2504e0-4f89-41d3-9a0c-0305e82c3301", key)
True
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from broker.contract.errors import ContractError, CredentialError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes


def new_key() -> str:
    """A fresh private key on P-256, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def load(pem: str) -> ec.EllipticCurvePrivateKey:
    """The key in ``pem``; CredentialError if it is none of ours."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise CredentialError(f"the private key is damaged: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CredentialError("the private key is not on an elliptic curve")
    return key


def request(meter_id: str, key_pem: str) -> str:
    """A signing request (PKCS #10, RFC 2986), PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, meter_id)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(load(key_pem), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def certificate(pem: str, *, meter_id: str, key_pem: str) -> x509.Certificate:
    """The certificate in ``pem``; ContractError unless it is this meter's, for this key."""
    try:
        found = x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise ContractError(f"the certificate is not PEM: {error}") from error
    names = [str(name.value) for name in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [meter_id]:
        raise ContractError(f"the certificate is for {names}, not for {meter_id}")
    if _public(found.public_key()) != _public(load(key_pem).public_key()):
        raise ContractError("the certificate is for another key")
    return found


def validity(found: x509.Certificate) -> tuple[datetime, datetime]:
    """From when until when it is valid, UTC."""
    if hasattr(found, "not_valid_before_utc"):
        return found.not_valid_before_utc, found.not_valid_after_utc
    # Debian 12 has cryptography 38, whose times name no zone.
    return found.not_valid_before.replace(tzinfo=UTC), found.not_valid_after.replace(tzinfo=UTC)


def fingerprint(found: x509.Certificate) -> str:
    """SHA-256 in hex."""
    return found.fingerprint(hashes.SHA256()).hex()


def _public(key: CertificatePublicKeyTypes) -> bytes:
    """The key as bytes: before cryptography 40, two objects of one key are not equal."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
