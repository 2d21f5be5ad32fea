"""Keys and certificates on their way into identity folders; a process that is killed meanwhile loses neither.

The key is in the folder before the identity store has the certificate, and the store keeps the certificate
until it is in the folder. The reverse order is not possible: the store could not revoke an unknown
certificate.

>>> with store.change() as change:  # doctest: +SKIP
...     certify(identity, change, authority, Path("anna"))
>>> unpack(store, deployment.write_connection)  # doctest: +SKIP
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from cryptography import x509

from broker.durable import PUBLIC, SECRET, make_folder, replace
from broker.mqtt import keypair
from broker.mqtt.identity import CERTIFICATE, KEY
from registrar import pki
from registrar.identities import Identity, Parcel
from registrar.identity_store import IdentityStore
from registrar.pki import Authority
from registrar.transaction import Change

log = logging.getLogger(__name__)


class Writer(Protocol):
    """Writes the part of an identity folder that is no secret."""

    def __call__(self, identity: Identity, folder: Path, *, host: str = "") -> None: ...


def certify(
    identity: Identity, change: Change, authority: Authority, folder: Path, *, host: str = ""
) -> x509.Certificate:
    """A new key for ``identity``, which waits in ``folder``, and a certificate, which ``change`` keeps until
    :func:`unpack` puts it there."""
    key = pki.new_key()
    certificate = authority.issue(identity.name, key.public_key())
    folder = folder.absolute()
    make_folder(folder)
    replace(keypair.following(folder / KEY), pki.key_pem(key), mode=SECRET)
    change.issued(identity.name, certificate, authority.certificate)
    change.pack(Parcel(str(folder), identity.name, host, pki.pem(certificate).decode()))
    return certificate


def unpack(store: IdentityStore, write: Writer) -> None:
    """Put the certificates that are kept into their folders; what cannot be reached now stays kept."""
    for parcel in store.parcels():
        try:
            _unpack(store, parcel, write)
        except OSError as error:  # a folder of another user, or an absent disk: the next process does it
            log.warning("the certificate of %s is not in %s: %s", parcel.name, parcel.folder, error)
            continue
        with store.change() as change:
            change.unpacked(parcel)


def _unpack(store: IdentityStore, parcel: Parcel, write: Writer) -> None:
    """It is there afterwards, or never will be, since its owner or its key is gone."""
    folder, certificate = Path(parcel.folder), parcel.certificate.encode()
    identity = store.identity(parcel.name)
    kept = (folder / CERTIFICATE).exists() and (folder / CERTIFICATE).read_bytes() == certificate
    if identity is None or not (kept or keypair.following(folder / KEY).exists()):
        return
    write(identity, folder, host=parcel.host)
    replace(folder / CERTIFICATE, certificate, mode=PUBLIC)
    keypair.settle(folder / KEY, folder / CERTIFICATE)
