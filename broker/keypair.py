"""A private key and its certificate, two files that a power cut must not part.

The new key waits beside the old one until the new certificate is on the disk: with that, the pair has
changed, and whoever comes next finishes what was interrupted.

>>> replace(folder / KEY, folder / CERTIFICATE, made_key, made_certificate)  # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from broker import durable
from broker.errors import CredentialError
from broker.identity import read_secret


def following(key: Path) -> Path:
    """Where the next key waits."""
    return key.with_name(f"{key.name}.next")


def replace(key: Path, certificate: Path, key_pem: bytes, certificate_pem: bytes) -> None:
    """Put both in place, on the disk when it returns; OSError if that fails."""
    durable.replace(following(key), key_pem, mode=durable.SECRET)
    durable.replace(certificate, certificate_pem, mode=durable.PUBLIC)
    settle(key, certificate)


def settle(key: Path, certificate: Path) -> None:
    """Let the key that waits take its place, if the certificate is its own; whoever is quicker, does it.

    CredentialError if what there is is damaged.
    """
    try:
        if certificate.exists() and _public(following(key)) == _certified(certificate):
            following(key).rename(key)
            durable.sync_folder(key.parent)
    except (OSError, ValueError, TypeError, CredentialError) as error:
        if following(key).exists():
            raise CredentialError(f"{following(key)}, or {certificate}, is damaged: {error}") from error


def _public(key: Path) -> object:
    return load_pem_private_key(read_secret(key), None).public_key()


def _certified(certificate: Path) -> object:
    return x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
