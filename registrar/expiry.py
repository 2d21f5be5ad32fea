"""Certificates that end: those of services and servers are renewed, for the others there is a warning.

A certificate is renewed at two thirds of its life, as on a meter, for the same key and the same names: one
file is replaced in one atomic step. Mosquitto, MMS bridge and web read their files again; a service uses the
new certificate when it connects again. The old certificate is not revoked but expires: a copy of it on
another machine works until then. A process that dies between the file and the audit leaves a mark in the
identity store, and the next look finishes it.

>>> CertificateWatch(deployment, AuditQueue(deployment)).look(utc_now())  # doctest: +SKIP
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from cryptography import x509

from bridge.store.audit import Kind
from broker.contract.errors import Meter61850Error
from broker.contract.roles import Role
from broker.durable import PUBLIC, replace
from broker.mqtt.identity import CERTIFICATE
from registrar import pki
from registrar.audit_queue import AuditQueue
from registrar.deployment import Deployment
from registrar.identities import SERVICES, Identity, fingerprint
from registrar.pki import SERVER_DAYS, Authority

log = logging.getLogger(__name__)

WARN = timedelta(days=30)
"""So long before its end a certificate that was not renewed is warned of; and so long after it."""
LEFT = 1 / 3
"""Of its life, when it is renewed."""
GAIN = timedelta(days=1)
"""A renewal that gains less is none: nothing outlives its authority."""
LOOK_SECONDS = 60.0
MAX_TOLD = 20


@dataclass(frozen=True)
class Ending:
    """A certificate that was not renewed, and that ends soon or has ended."""

    what: str
    ends: datetime
    cure: str

    @property
    def text(self) -> str:
        """For people, in one line."""
        return f"the certificate of {self.what} ends on {self.ends:%Y-%m-%d %H:%M} UTC: {self.cure}"


@dataclass(frozen=True)
class Local:
    """A certificate that is a file of the deployment."""

    name: str
    file: Path
    cure: str
    role: Role | None = None
    """Of a service's identity; None for a server's."""

    def load(self) -> x509.Certificate | None:
        """What is in the file; None, and a log line, if it is missing or broken."""
        try:
            return x509.load_pem_x509_certificate(self.file.read_bytes())
        except (OSError, ValueError) as error:
            log.error("certificate %s: %s", self.file, error)
            return None


def authorities(deployment: Deployment) -> Iterator[Local]:
    """The certificates that sign others; they are never renewed by themselves."""
    cures = {"ca": "rotate-ca", "services": "rotate-ca", "previous": "retire-ca"}
    for name, command in cures.items():
        file = deployment.folder / "ca" / f"{name}.crt"
        if file.exists():
            yield Local(f"authority {name}", file, f"meter61850 credentials {command}")


def renewable(deployment: Deployment) -> Iterator[Local]:
    """The certificates of servers and services."""
    for pair in deployment.server_pairs():
        yield Local(f"server {pair.name}", pair.with_suffix(".crt"), "meter61850 credentials rotate server")
    for name, role in SERVICES.items():
        file = deployment.identity_folder(name) / CERTIFICATE
        if file.exists():  # else the service runs elsewhere
            yield Local(f"service {name}", file, f"meter61850 credentials rotate {name}", role)


def renew(deployment: Deployment, now: datetime) -> Iterator[str]:
    """Renew what is due; the names, each once it is done and noted for the audit.

    A file that cannot be written is logged, and tried again at the next look; the others are renewed.
    """
    for one in renewable(deployment):
        try:
            done = _renew(deployment, one, now)
        except OSError as error:
            log.error("the certificate of %s is not renewed: %s", one.name, error)
            continue
        if done:
            yield one.name


def _renew(deployment: Deployment, one: Local, now: datetime) -> bool:
    own = one.load()
    if own is None:
        return False
    finished = _finish(deployment, one, own)
    if not _due(own, now):
        return finished
    authority = _issuer(deployment, own)
    if authority is None or authority.certificate.not_valid_after_utc < own.not_valid_after_utc + GAIN:
        return False
    with deployment.identity_store.change() as change:
        if one.role is None:
            made = authority.renewed(own, days=SERVER_DAYS, now=now)
        else:
            name = pki.common_name(own)
            identity = change.identity(name)
            if identity is None or identity.blocked or not change.is_good(fingerprint(own)):
                return False
            made = authority.renewed(own, days=pki.CLIENT_DAYS, now=now)
            change.issued(name, made, authority.certificate)
        change.mark(_mark(one), _end(made))
    replace(one.file, pki.pem(made), mode=PUBLIC)
    return _finish(deployment, one, made)


def _mark(one: Local) -> str:
    """Of a renewal that has begun, with the end of the new certificate."""
    return f"renew {one.name}"


def _end(certificate: x509.Certificate) -> int:
    return int(certificate.not_valid_after_utc.timestamp())


def _finish(deployment: Deployment, one: Local, there: x509.Certificate) -> bool:
    """Note the begun renewal for the audit, if its certificate is what is ``there``; whether it is."""
    begun = deployment.identity_store.marks().get(_mark(one))
    if begun is None:
        return False
    with deployment.identity_store.change() as change:
        change.unmark(_mark(one))
        if done := begun == _end(there):
            identity = one.name.partition(" ")[2]
            change.note(Kind.CREDENTIALS_ROTATED, who="registrar", identity=identity, outcome="renewed")
    return done


def _due(certificate: x509.Certificate, now: datetime) -> bool:
    """A renewed one keeps its begin, so its life may be longer than what it was given last."""
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return end - now <= min(end - begin, timedelta(days=SERVER_DAYS)) * LEFT


def _issuer(deployment: Deployment, certificate: x509.Certificate) -> Authority | None:
    """Who has issued it, and signs again: while an authority is replaced not all trust the new one yet."""
    for name in ("ca", "previous", "services"):
        if (deployment.folder / "ca" / f"{name}.crt").exists():
            authority = deployment.authority(name)
            if authority.has_issued(certificate):
                return authority
    return None


def ending(deployment: Deployment, now: datetime) -> list[Ending]:
    """What ends within :data:`WARN`, or has ended not longer ago, the next one first."""
    found = []
    for one in (*authorities(deployment), *renewable(deployment)):
        certificate = one.load()
        if certificate is not None:
            found.append(Ending(one.name, certificate.not_valid_after_utc, one.cure))
    local = {name for name in SERVICES if (deployment.identity_folder(name) / CERTIFICATE).exists()}
    found += _registered(deployment, without=local)
    soon = [one for one in found if now - WARN < one.ends < now + WARN]
    return sorted(soon, key=lambda one: one.ends)


def _registered(deployment: Deployment, *, without: set[str]) -> Iterator[Ending]:
    """The newest good certificate of each identity that is not blocked."""
    newest = {
        one.name: one.not_after for one in deployment.identity_store.certificates() if one.revoked is None
    }
    for identity in deployment.identity_store.identities():
        if identity.name in newest and not identity.blocked and identity.name not in without:
            yield Ending(f"{identity.role} {identity.name}", newest[identity.name], _cure(identity))


def _cure(identity: Identity) -> str:
    if identity.role is Role.METER:
        return "it renews it by itself while it is connected"
    return f"meter61850 credentials rotate {identity.name} --out FOLDER"


class CertificateWatch:
    """The registrar's look at all of them; one thread looks, others read."""

    def __init__(self, deployment: Deployment, audit_queue: AuditQueue) -> None:
        self._deployment = deployment
        self._audit_queue = audit_queue
        self._told: dict[str, date] = {}
        self.endings: list[Ending] = []
        self.ends: dict[str, float] = {}
        """Seconds since 1970, by certificate."""

    def look(self, now: datetime) -> None:
        """Renew what is due, and warn of what was not renewed: each once a day."""
        for name in renew(self._deployment, now):
            log.info("the certificate of %s is renewed", name)
            self._audit_queue.move()
        self.endings = ending(self._deployment, now)
        self.ends = {one.what: one.ends.timestamp() for one in self.endings}
        for local in (*authorities(self._deployment), *renewable(self._deployment)):
            certificate = local.load()
            if certificate is not None:
                self.ends[local.name] = certificate.not_valid_after_utc.timestamp()
        for one in self.endings:
            if self._told.get(one.what) != now.date():
                self._told[one.what] = now.date()
                log.warning("%s", one.text)

    def try_look(self, now: datetime) -> None:
        """As :meth:`look`; what is not possible now is logged, and tried again at the next look."""
        try:
            self.look(now)
        except (OSError, sqlite3.Error, Meter61850Error) as error:
            log.error("cannot check the certificates: %s", error)

    @property
    def warnings(self) -> list[str]:
        """For our status on the broker, and so for the web's page."""
        told = [one.text for one in self.endings[:MAX_TOLD]]
        left = len(self.endings) - len(told)
        return told + ([f"{left} more certificates end soon"] if left else [])
