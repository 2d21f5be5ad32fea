"""Roles, identities, and their certificates.

>>> checked_name("anna", Role.OPERATOR)
'anna'
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from broker.contract.errors import ConfigurationError, Meter61850Error
from broker.contract.roles import Role
from broker.contract.topics import checked_meter_id

STAFF_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
RESERVED = ("scl", "service", "enrol")
"""Words of the contract in the place of a meter_id."""


SERVICES = {
    "bridge": Role.BRIDGE,
    "mms": Role.MMS,
    "registrar": Role.REGISTRAR,
    "web": Role.WEB,
    "admin": Role.ADMIN,
}
"""Identities that every deployment has."""


@dataclass(frozen=True)
class Identity:
    """One who may connect."""

    name: str
    role: Role
    scope: tuple[str, ...] = ()
    """Address codes that an operator or issuer is confined to; empty: all."""
    address_code: str = ""
    """Of a meter, as its enrolment said."""
    token: str = ""
    """Hash of the password of a meter without a certificate, as Mosquitto keeps it."""
    blocked: str = ""
    """Why it is shut out; empty: it is not."""
    created: datetime | None = None
    """When it was added."""


@dataclass(frozen=True)
class Certificate:
    """One certificate that the authority has issued."""

    serial: int
    name: str
    authority: str
    """SHA-256 of the issuing authority's certificate."""
    fingerprint: str
    not_after: datetime
    revoked: datetime | None
    held: bool = False
    """Revoked only while its owner is blocked."""
    ends: datetime | None = None
    """When it is revoked because another has taken its place."""


@dataclass(frozen=True)
class Parcel:
    """A certificate that is on its way into an identity folder, where its key waits."""

    folder: str
    name: str
    host: str
    """The broker as this identity reaches it; empty: as usual."""
    certificate: str
    """PEM."""


class NotRegisteredError(Meter61850Error, LookupError):
    """Nobody, or nothing, of that name is in the identity store."""


def checked_name(name: str, role: Role) -> str:
    """``name`` if ``role`` may be called so: a meter by its meter_id, staff in small letters."""
    if role is Role.METER:
        return checked_meter_id(name)
    if not STAFF_NAME.fullmatch(name) or name in RESERVED:
        raise ConfigurationError(
            f"name {name[:64]!r}: 1 to 32 of a–z, 0–9, - and _, beginning with a letter, "
            f"and none of {', '.join(RESERVED)}"
        )
    if (name in SERVICES) != (SERVICES.get(name) is role):
        raise ConfigurationError(f"name {name!r} is the service's own: choose another")
    return name


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate in DER, as 64 hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def identity_of(row: sqlite3.Row) -> Identity:
    """A row of the table ``identity``."""
    return Identity(
        name=row["name"],
        role=Role(row["role"]),
        scope=tuple(row["scope"].split()),
        address_code=row["address_code"],
        token=row["token"],
        blocked=row["blocked"],
        created=datetime.fromtimestamp(row["created"], UTC),
    )


def certificate_of(row: sqlite3.Row) -> Certificate:
    """A row of the table ``certificate``."""
    return Certificate(
        serial=int(row["serial"], 16),
        name=row["name"],
        authority=row["authority"],
        fingerprint=row["fingerprint"],
        not_after=datetime.fromtimestamp(row["not_after"], UTC),
        revoked=at(row["revoked"]),
        held=bool(row["held"]),
        ends=at(row["ends"]),
    )


def at(seconds: int | None) -> datetime | None:
    """The UTC time of a column of seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
