"""The meter's certificate, renewed over its own connection: at two thirds of its life, or on request.

A new key is made and kept beside the old one. When the answer arrives, first the certificate is replaced,
then the key. If the power fails between the two, the next start repairs this: it can check which key belongs
to the certificate.

>>> Credentials(Path("data/identity"), meter_id).due(clock.now())  # doctest: +SKIP
False
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from broker import durable
from broker.contract.enrolment import Credential, Renewal
from broker.contract.errors import ContractError, CredentialError
from broker.mqtt import keypair
from broker.mqtt.identity import CA, CERTIFICATE, KEY, read_secret
from meter_firmware import clock
from meter_firmware.enrolment import keys

DOUBTED = timedelta(days=7)
"""A certificate that was due when it came is renewed so much later: the clock may be right after all."""
_UNTOLD = "untold"
"""Marks a new certificate of which the registrar does not know yet that we use it."""


class Credentials:
    """The identity folder of a meter; nothing to renew with a token, nothing to do without a ``folder``."""

    def __init__(self, folder: Path | None, meter_id: str) -> None:
        self._folder = folder or Path()
        self._meter_id = meter_id
        self.renewable = folder is not None and (folder / CERTIFICATE).exists()
        self.kept = folder is not None and (folder / CA).exists()
        """There is a folder, so the authorities can be updated; with a token nothing else changes."""
        self._wanted = False

    def due(self, now: datetime) -> bool:
        """Whether to ask for a new certificate."""
        if not self.renewable:
            return False
        return self._wanted or (now >= self._due_at() and not self.clock_doubt(now))

    def clock_doubt(self, now: datetime) -> str:
        """Why the clock must be wrong, as the certificate shows; else empty.

        It was made before it came; one that was due for renewal when it came would be so at each renewal.
        """
        if not self.renewable:
            return ""
        begin, due_at = keys.validity(self._certificate())[0], self._due_at()
        came = datetime.fromtimestamp((self._folder / CERTIFICATE).stat().st_mtime, UTC)
        if now < begin:
            return f"it says {now:%Y-%m-%dT%H:%MZ}, our certificate was made at {begin:%Y-%m-%dT%H:%MZ}"
        if due_at <= came <= now < came + DOUBTED:
            return (
                f"it says {now:%Y-%m-%dT%H:%MZ}, when our certificate, which is new, would be due for "
                f"renewal since {due_at:%Y-%m-%dT%H:%MZ}; the next renewal is {DOUBTED.days} days later"
            )
        return ""

    def _due_at(self) -> datetime:
        begin, end = keys.validity(self._certificate())
        return begin + (end - begin) * 2 / 3

    def ask(self) -> Renewal:
        """What to ask; the key for it is on the disk before."""
        following = keypair.following(self._folder / KEY)
        if not following.exists():
            durable.replace(following, keys.new_key().encode(), mode=durable.SECRET)
        return Renewal(csr=keys.request(self._meter_id, read_secret(following).decode()), ts=clock.now())

    def take(self, told: Credential) -> bool:
        """Use what the registrar has for us; whether there is a new certificate, to connect with anew.

        ContractError if it is of no use: then all stays as it is.
        """
        _check_authorities(told.authorities)
        if told.certificate is not None:
            self._take_certificate(told.certificate)
        if (self._folder / CA).read_text() != told.authorities:
            durable.replace(self._folder / CA, told.authorities.encode(), mode=durable.PUBLIC)
        self._wanted = told.renew
        return told.certificate is not None

    @property
    def untold(self) -> Renewal | None:
        """That we use a new certificate, until that was said."""
        if not self.renewable or not (self._folder / _UNTOLD).exists():
            return None
        return Renewal(using=keys.fingerprint(self._certificate()), ts=clock.now())

    def was_told(self) -> None:
        """The broker has acknowledged :attr:`untold`."""
        (self._folder / _UNTOLD).unlink(missing_ok=True)

    def _take_certificate(self, pem: str) -> None:
        following = keypair.following(self._folder / KEY)
        if not following.exists():
            raise ContractError("a certificate that this meter did not request")
        keys.certificate(pem, meter_id=self._meter_id, key_pem=read_secret(following).decode())
        durable.replace(self._folder / _UNTOLD, b"", mode=durable.PUBLIC)
        durable.replace(self._folder / CERTIFICATE, pem.encode(), mode=durable.PUBLIC)
        settle(self._folder)

    def _certificate(self) -> x509.Certificate:
        path = self._folder / CERTIFICATE
        try:
            return x509.load_pem_x509_certificate(path.read_bytes())
        except (OSError, ValueError) as error:
            raise CredentialError(f"certificate {path}: {error}") from error


def settle(folder: Path) -> None:
    """Finish a renewal that a power cut has interrupted; CredentialError if what there is is damaged."""
    keypair.settle(folder / KEY, folder / CERTIFICATE)


def _check_authorities(pem: str) -> None:
    """ContractError for authorities with which we could never connect again."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (TypeError, ValueError, ssl.SSLError) as error:
        raise ContractError(f"the authorities are not PEM certificates: {error}") from error
