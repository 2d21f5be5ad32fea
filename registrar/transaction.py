"""The changes of one transaction of the identity store.

>>> with store.change() as change:  # doctest: +SKIP
...     change.block("anna", "left the company")
"""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from enum import StrEnum

from cryptography import x509

from bridge.store import spool
from bridge.store.audit import Event, Kind
from broker.contract.errors import ContractError
from registrar.identities import Identity, Parcel, checked_name, fingerprint, identity_of

log = logging.getLogger(__name__)

ORIGIN = "registrar"
"""Of what is noted for the audit."""


class Ending(StrEnum):
    """What is to be done when Mosquitto has the change (`registrar.finishing`)."""

    CUT = "cut"
    """End its connection."""
    REMOVE = "remove"
    """That, and forget the identity."""


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
            self.connection.execute(
                "INSERT INTO identity (name, role, scope, address_code, token, blocked, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
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
        self.connection.execute(
            "INSERT INTO certificate (serial, name, authority, fingerprint, not_after, revoked, held, ends)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )

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
        """Revoke the certificates of ``name`` save ``but`` at a later time (:meth:`revoke_ended`), or sooner
        if that was settled before."""
        self.connection.execute(
            "UPDATE certificate SET ends = min(coalesce(ends, :at), :at) WHERE name = :name "
            "AND revoked IS NULL AND fingerprint != :but",
            {"at": int(at.timestamp()), "name": name, "but": but},
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
        return identity_of(row) if row else None

    def lives(self, name: str) -> bool:
        """Whether ``name`` has a credential that was not revoked for good, blocked or not."""
        query = (
            "SELECT 1 FROM identity WHERE name = :name AND token != '' UNION ALL SELECT 1 FROM certificate "
            "WHERE name = :name AND (revoked IS NULL OR held = 1) AND not_after > :now"
        )
        return self.connection.execute(query, {"name": name, "now": _now()}).fetchone() is not None

    def is_good(self, fingerprint: str) -> bool:
        """Whether we have issued the certificate with this fingerprint, and not revoked it."""
        query = "SELECT 1 FROM certificate WHERE fingerprint = ? AND revoked IS NULL"
        return self.connection.execute(query, (fingerprint,)).fetchone() is not None

    def living(self, name: str) -> int:
        """How many certificates of ``name`` are good now."""
        query = "SELECT count(*) FROM certificate WHERE name = ? AND revoked IS NULL AND not_after > ?"
        return int(self.connection.execute(query, (name, _now())).fetchone()[0])

    def unexpired(self, name: str) -> int:
        """How many certificates of ``name`` have not expired, revoked or not."""
        query = "SELECT count(*) FROM certificate WHERE name = ? AND not_after > ?"
        return int(self.connection.execute(query, (name, _now())).fetchone()[0])

    def newest(self, name: str) -> str:
        """Fingerprint of the certificate that ``name`` was issued last; empty if there is none."""
        query = "SELECT fingerprint FROM certificate WHERE name = ? ORDER BY rowid DESC LIMIT 1"
        row = self.connection.execute(query, (name,)).fetchone()
        return str(row[0]) if row else ""

    def send(self, topic: str, payload: bytes) -> None:
        """Have ``payload`` published, retained, in place of what waits for ``topic``
        (`registrar.retained_outbox`)."""
        self.connection.execute(
            "INSERT OR REPLACE INTO letter (topic, payload) VALUES (?, ?)", (topic, payload)
        )
        self.connection.execute("DELETE FROM kept WHERE topic = ?", (topic,))
        if payload:
            self.connection.execute("INSERT INTO kept (topic, payload) VALUES (?, ?)", (topic, payload))

    def kept(self, topic: str) -> bytes | None:
        """What is to be retained on ``topic``; None if nothing is."""
        row = self.connection.execute("SELECT payload FROM kept WHERE topic = ?", (topic,)).fetchone()
        return None if row is None else bytes(row[0])

    def note(
        self,
        kind: Kind,
        *,
        who: str,
        meter_id: str = "",
        identity: str = "",
        outcome: str = "",
        **detail: object,
    ) -> None:
        """Have the audit record an event if and only if this is committed (`registrar.audit_queue`)."""
        log.info(
            "%s", kind, extra={"by": who, "meter_id": meter_id, "identity": identity, "outcome": outcome}
        )
        event = Event(kind, who, ORIGIN, meter_id, identity, outcome, detail)
        spool.note(self.connection, event)

    def end_connection(self, name: str, how: Ending = Ending.CUT) -> None:
        """Have the connection of ``name`` ended when Mosquitto has what this transaction changes."""
        self.connection.execute(
            "INSERT INTO unfinished (name, generation, ending) SELECT ?, coalesce(max(value), 0), ? "
            "FROM counter WHERE name = 'generation' "
            "ON CONFLICT (name) DO UPDATE SET ending = excluded.ending",
            (name, how),
        )

    def keep_connection(self, name: str) -> None:
        """Nobody is to end the connection of ``name`` any more."""
        self.connection.execute("UPDATE unfinished SET ending = '' WHERE name = ?", (name,))

    def pack(self, parcel: Parcel) -> None:
        """Have a certificate put into its folder, in the place of one that is on its way there."""
        row = (parcel.folder, parcel.name, parcel.host, parcel.certificate)
        self.connection.execute(
            "INSERT OR REPLACE INTO parcel (folder, name, host, certificate) VALUES (?, ?, ?, ?)", row
        )

    def unpacked(self, parcel: Parcel) -> None:
        """It is there."""
        self.connection.execute(
            "DELETE FROM parcel WHERE folder = ? AND certificate = ?", (parcel.folder, parcel.certificate)
        )

    def finished(self, name: str, generation: int) -> bool:
        """Mosquitto has what was changed for ``name`` in ``generation``; False if more was changed since."""
        done = self.connection.execute(
            "DELETE FROM unfinished WHERE name = ? AND generation <= ?", (name, generation)
        )
        return done.rowcount > 0

    def mark(self, name: str, value: int = 0) -> bool:
        """Remember ``value`` under ``name`` until :meth:`unmark`; False if there is one already."""
        done = self.connection.execute(
            "INSERT OR IGNORE INTO mark (name, value) VALUES (?, ?)", (name, value)
        )
        return done.rowcount > 0

    def unmark(self, name: str) -> None:
        """It is done."""
        self.connection.execute("DELETE FROM mark WHERE name = ?", (name,))

    def next_number(self, name: str) -> int:
        """1, 2, 3 … : counts for ever."""
        row = self.connection.execute(
            "INSERT INTO counter (name, value) VALUES (?, 1)"
            " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
            (name,),
        ).fetchone()
        return int(row[0])


def _now() -> int:
    return int(datetime.now(UTC).timestamp())
