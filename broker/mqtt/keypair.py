"""A private key and its certificate, two files that a power cut must not part.

The new key waits beside the old one until the new certificate is on the disk: with that, the pair has
changed, and the next program that opens it finishes what was interrupted.

>>> replace(folder / KEY, folder / CERTIFICATE, made_key, made_certificate)  # doctest: +SKIP
"""

from __future__ import annotations

import ssl
from pathlib import Path

from broker import durable
from broker.contract.errors import CredentialError
from broker.mqtt.identity import check_secret


def following(key: Path) -> Path:
    """Where the next key waits."""
    return key.with_name(f"{key.name}.next")


def replace(key: Path, certificate: Path, key_pem: bytes, certificate_pem: bytes) -> None:
    """Put both in place, on the disk when it returns; OSError if that fails."""
    durable.replace(following(key), key_pem, mode=durable.SECRET)
    durable.replace(certificate, certificate_pem, mode=durable.PUBLIC)
    settle(key, certificate)


def settle(key: Path, certificate: Path) -> None:
    """Let the key that waits take its place, if the certificate is its own; the first caller does it.

    Who may only read the folder leaves that to its owner, and has :func:`usable` meanwhile. CredentialError
    if what there is is damaged.
    """
    if not (following(key).exists() and certificate.exists()):
        return
    try:
        if _belong_together(following(key), certificate):
            _take_place(key)
    except (OSError, CredentialError) as error:
        if following(key).exists():
            raise CredentialError(f"{following(key)}, or {certificate}, is damaged: {error}") from error


def usable(key: Path, certificate: Path) -> Path:
    """The file that holds the certificate's key: ``key``, or the one that waits to take its place."""
    waiting = following(key)
    try:
        return waiting if waiting.exists() and _belong_together(waiting, certificate) else key
    except (OSError, CredentialError):
        return key  # it has taken its place meanwhile, or is damaged: loading it reports that


def _take_place(key: Path) -> None:
    try:
        following(key).rename(key)
    except PermissionError:
        return
    durable.sync_folder(key.parent)


def _belong_together(key: Path, certificate: Path) -> bool:
    """As TLS itself judges; OSError when one of them is damaged."""
    check_secret(key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            return False
        raise
    return True
