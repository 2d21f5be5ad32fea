"""The register of identities: who there is, in which role, with which certificates, and who is blocked.

One SQLite file of mode 0600 in the deployment's folder. The broker's access list, its passwords and the
certificates' revocation list are rendered from it and from nothing else (`registrar.deployment`).

>>> register = Register(Path("register.sqlite"))  # doctest: +SKIP
>>> with register.change() as change:  # doctest: +SKIP
...     change.add(Identity("anna", Role.OPERATOR))
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from broker.errors import ConfigurationError, ContractError, Meter61850Error
from broker.topics import checked_meter_id
from registrar.schema import SCHEMA

STAFF_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
RESERVED = ("scl", "service", "enrol")
"""Words of the contract in the place of a meter_id."""
BUSY_SECONDS = 5.0


class Role(StrEnum):
    """What an identity may do; `registrar.acl` says it in topics."""

    METER = "meter"
    BRIDGE = "bridge"
    MMS = "mms"
    REGISTRAR = "registrar"
    WEB = "web"
    ADMIN = "admin"
    OPERATOR = "operator"
    """Reads, everything or the meters of its address codes."""
    ISSUER = "issuer"
    """An operator who may also switch relays."""


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


class NotRegisteredError(Meter61850Error, LookupError):
    """Nobody, or nothing, of that name is in the register."""


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


class Register:
    """The file; made when it is missing, in mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with self.connection() as connection:
            connection.executescript(SCHEMA)

    @contextmanager
    def change(self) -> Iterator[Change]:
        """One transaction, alone with the file: everything in it or nothing."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Change(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def identities(self, role: Role | None = None) -> list[Identity]:
        """All, or those of ``role``, by name."""
        where, values = ("WHERE role = ?", (role,)) if role else ("", ())
        with self.connection() as connection:
            rows = connection.execute(f"SELECT * FROM identity {where} ORDER BY name", values)
            return [_identity(row) for row in rows]

    def identity(self, name: str) -> Identity | None:
        """One of them, or None."""
        with self.connection() as connection:
            row = connection.execute("SELECT * FROM identity WHERE name = ?", (name,)).fetchone()
            return _identity(row) if row else None

    def certificates(self, name: str | None = None) -> list[Certificate]:
        """All that were issued, or those of one identity; the newest end last."""
        where, values = ("WHERE name = ?", (name,)) if name else ("", ())
        with self.connection() as connection:
            rows = connection.execute(f"SELECT * FROM certificate {where} ORDER BY not_after", values)
            return [_certificate(row) for row in rows]

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """For one look at it; changes go through :meth:`change`."""
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        with closing(connection):
            connection.row_factory = sqlite3.Row
            yield connection


class Change:
    """What one transaction may do."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def add(self, identity: Identity) -> None:
        """A new identity; ContractError if its name is taken."""
        checked_name(identity.name, identity.role)
        row = (
            *(identity.name, identity.role, " ".join(identity.scope), identity.address_code),
            *(identity.token, identity.blocked, _now()),
        )
        try:
            self.connection.execute("INSERT INTO identity VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError as error:
            raise ContractError(f"identity {identity.name!r} exists already") from error

    def remove(self, name: str) -> None:
        """Forget an identity; its certificates are revoked, and stay."""
        self.revoke(name)
        self.connection.execute("DELETE FROM identity WHERE name = ?", (name,))

    def block(self, name: str, reason: str) -> None:
        """Shut an identity out; its certificates are revoked for as long (RFC 5280: certificateHold)."""
        self.connection.execute("UPDATE identity SET blocked = ? WHERE name = ?", (reason, name))
        self.connection.execute(
            "UPDATE certificate SET revoked = ?, held = 1 WHERE name = ? AND revoked IS NULL", (_now(), name)
        )

    def unblock(self, name: str) -> None:
        """Let an identity in again, with what was not revoked for good."""
        self.connection.execute("UPDATE identity SET blocked = '' WHERE name = ?", (name,))
        self.connection.execute(
            "UPDATE certificate SET revoked = NULL, held = 0 WHERE name = ? AND held = 1", (name,)
        )

    def set_token(self, name: str, hashed: str) -> None:
        """The hash of a new password; empty takes it away."""
        self.connection.execute("UPDATE identity SET token = ? WHERE name = ?", (hashed, name))

    def issued(self, name: str, certificate: x509.Certificate, authority: x509.Certificate) -> None:
        """Remember a certificate before it leaves the house."""
        row = (
            *(f"{certificate.serial_number:x}", name, fingerprint(authority), fingerprint(certificate)),
            *(int(certificate.not_valid_after_utc.timestamp()), None, 0, None),
        )
        self.connection.execute("INSERT INTO certificate VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def revoke(self, name: str, *, but: str = "") -> int:
        """Revoke the certificates of ``name`` for good, save the one with fingerprint ``but``; how many."""
        done = self.connection.execute(
            "UPDATE certificate SET revoked = coalesce(revoked, ?), held = 0 "
            "WHERE name = ? AND (revoked IS NULL OR held = 1) AND fingerprint != ?",
            (_now(), name, but),
        )
        return done.rowcount

    def revoke_issued_by(self, authority: str) -> int:
        """Revoke for good what the authority with this fingerprint has issued; how many."""
        done = self.connection.execute(
            "UPDATE certificate SET revoked = coalesce(revoked, ?), held = 0 "
            "WHERE authority = ? AND (revoked IS NULL OR held = 1)",
            (_now(), authority),
        )
        return done.rowcount

    def supersede(self, name: str, *, but: str, at: datetime) -> None:
        """Revoke the certificates of ``name`` save ``but`` at a later time (:meth:`revoke_ended`)."""
        self.connection.execute(
            "UPDATE certificate SET ends = ? WHERE name = ? AND revoked IS NULL AND ends IS NULL "
            "AND fingerprint != ?",
            (int(at.timestamp()), name, but),
        )

    def revoke_ended(self) -> list[str]:
        """Revoke what was superseded and whose time has come; whose certificates those were."""
        done = self.connection.execute(
            "UPDATE certificate SET revoked = ends WHERE revoked IS NULL AND ends <= ? RETURNING name",
            (_now(),),
        )
        return [str(row[0]) for row in done]

    def identity(self, name: str) -> Identity | None:
        """As it is in this transaction."""
        row = self.connection.execute("SELECT * FROM identity WHERE name = ?", (name,)).fetchone()
        return _identity(row) if row else None

    def lives(self, name: str) -> bool:
        """Whether ``name`` has a credential that was not revoked for good, blocked or not."""
        query = (
            "SELECT 1 FROM identity WHERE name = :name AND token != '' UNION ALL SELECT 1 FROM certificate "
            "WHERE name = :name AND (revoked IS NULL OR held = 1) AND not_after > :now"
        )
        return self.connection.execute(query, {"name": name, "now": _now()}).fetchone() is not None

    def living(self, name: str) -> int:
        """How many certificates of ``name`` are good now."""
        query = "SELECT count(*) FROM certificate WHERE name = ? AND revoked IS NULL AND not_after > ?"
        return int(self.connection.execute(query, (name, _now())).fetchone()[0])

    def newest(self, name: str) -> str:
        """Fingerprint of the certificate that ``name`` was issued last; empty if there is none."""
        query = "SELECT fingerprint FROM certificate WHERE name = ? ORDER BY rowid DESC LIMIT 1"
        row = self.connection.execute(query, (name,)).fetchone()
        return str(row[0]) if row else ""

    def send(self, topic: str, payload: bytes) -> None:
        """Have ``payload`` published, retained, in place of what waits for ``topic`` (`registrar.post`)."""
        self.connection.execute("INSERT OR REPLACE INTO letter VALUES (?, ?)", (topic, payload))

    def next_number(self, name: str) -> int:
        """1, 2, 3 … : counts for ever."""
        row = self.connection.execute(
            "INSERT INTO counter VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 "
            "RETURNING value",
            (name,),
        ).fetchone()
        return int(row[0])


def _now() -> int:
    return int(datetime.now(UTC).timestamp())


def _identity(row: sqlite3.Row) -> Identity:
    return Identity(
        name=row["name"],
        role=Role(row["role"]),
        scope=tuple(row["scope"].split()),
        address_code=row["address_code"],
        token=row["token"],
        blocked=row["blocked"],
        created=datetime.fromtimestamp(row["created"], UTC),
    )


def _certificate(row: sqlite3.Row) -> Certificate:
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
