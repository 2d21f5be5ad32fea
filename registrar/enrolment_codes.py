"""Enrolment codes in the identity store: made, listed, withdrawn, and the broker logins (slots) of each.

The store keeps only a hash of a code, in Mosquitto's format. A slot is open until it is used, or its code has
expired or is withdrawn. A used slot stays open while its meter may fetch the answer.

>>> made = make(store, count=20, valid=timedelta(days=2), automatic=False, who="anna")  # doctest: +SKIP
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridge.store.audit import Kind
from broker.contract.enrolment_codes import EnrolmentCode
from broker.contract.errors import ConfigurationError, ContractError
from broker.contract.topics import is_slot
from broker.daemon.passwords import hashed
from registrar.identities import NotRegisteredError, at
from registrar.identity_store import IdentityStore

LONGEST = timedelta(days=90)
"""A code that is valid for longer is forgotten in a drawer."""
ANSWER_KEPT = timedelta(days=7)
"""For a meter that was decided upon while it was away."""
PENDING_KEPT = timedelta(days=90)
"""For an administrator who must decide."""


@dataclass(frozen=True)
class Code:
    """What is known of a code."""

    id: str
    count: int
    used: int
    """Slots with which a meter has asked."""
    automatic: bool
    """Meters that ask with it are let in without an administrator."""
    who: str
    """Made it."""
    created: datetime
    expires: datetime
    withdrawn: datetime | None

    @property
    def state(self) -> str:
        """``open``, ``withdrawn``, ``expired`` or ``used up``."""
        if self.withdrawn is not None:
            return "withdrawn"
        if self.expires <= datetime.now(UTC):
            return "expired"
        return "used up" if self.used >= self.count else "open"


def make(
    store: IdentityStore, *, count: int, valid: timedelta, automatic: bool, who: str, noted: bool = False
) -> EnrolmentCode:
    """A new code; ConfigurationError for an impossible ``count`` or ``valid``. ``noted``: for the audit."""
    while True:
        code = EnrolmentCode.new(count=count)
        with suppress(ContractError):  # its four letters are another's
            keep(store, code, valid=valid, automatic=automatic, who=who, noted=noted)
            return code


def keep(
    store: IdentityStore,
    code: EnrolmentCode,
    *,
    valid: timedelta,
    automatic: bool,
    who: str,
    noted: bool = False,
) -> None:
    """Remember the hash of ``code``; ContractError if its id is taken, ConfigurationError for ``valid``."""
    if not timedelta(0) < valid <= LONGEST:
        raise ConfigurationError(f"a code is valid for at most {LONGEST.days} days")
    now = datetime.now(UTC)
    with store.change() as change:
        if _known(change.connection, code.id):
            raise ContractError(f"there is a code {code.id} already")
        change.connection.execute(
            "INSERT INTO code (id, count, hash, automatic, who, created, expires, withdrawn)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                *(code.id, code.count, hashed(code.secret), int(automatic), who),
                *(int(now.timestamp()), int((now + valid).timestamp())),
            ),
        )
        if noted:
            change.note(
                Kind.ENROLMENT_CODE_MADE,
                who=who,
                code=code.id,
                count=code.count,
                automatic=automatic,
                hours=valid / timedelta(hours=1),
            )


def listed(store: IdentityStore) -> list[Code]:
    """All of them, the newest last."""
    query = "SELECT *, (SELECT count(*) FROM request WHERE code = id) AS used FROM code ORDER BY created, id"
    with store.connection() as connection:
        return [_code(row) for row in connection.execute(query)]


def withdraw(store: IdentityStore, code_id: str, *, who: str = "registrar") -> int:
    """Close all slots of a code and refuse who waits with it; how many waited. NotRegisteredError."""
    code_id = code_id.strip().upper()[:4]
    now = int(datetime.now(UTC).timestamp())
    with store.change() as change:
        if not _known(change.connection, code_id):
            raise NotRegisteredError(f"no enrolment code {code_id!r}: meter61850 enrol list shows all")
        change.connection.execute(
            "UPDATE code SET withdrawn = coalesce(withdrawn, ?) WHERE id = ?", (now, code_id)
        )
        done = change.connection.execute(
            "UPDATE request SET verdict = 'refused', reason = 'the code was withdrawn', decided = ? "
            "WHERE code = ? AND verdict = 'pending'",
            (now, code_id),
        )
        change.note(Kind.ENROLMENT_REFUSED, who=who, outcome="withdrawn", code=code_id, waited=done.rowcount)
        return done.rowcount


def open_slots(store: IdentityStore) -> list[tuple[str, str]]:
    """Login and password hash of every slot that is open now."""
    now = int(datetime.now(UTC).timestamp())
    with store.connection() as connection:
        codes = connection.execute(
            "SELECT id, count, hash, expires FROM code WHERE withdrawn IS NULL"
        ).fetchall()
        used = {row["slot"]: row for row in connection.execute("SELECT * FROM request")}
    found = []
    for code in codes:
        for number in range(1, code["count"] + 1):
            slot = f"{code['id']}-{number}"
            if _is_open(used.get(slot), expires=code["expires"], now=now):
                found.append((slot, code["hash"]))
    return found


def published_slots(broker: Path) -> set[str]:
    """The enrolment slots that the broker has now; ``broker`` is its folder."""
    try:
        lines = (broker / "passwords").read_text().splitlines()
    except FileNotFoundError:
        return set()
    names = (line.partition(":")[0] for line in lines)
    return {name for name in names if is_slot(name)}


def _is_open(request: sqlite3.Row | None, *, expires: int, now: int) -> bool:
    if request is None:
        return now < expires
    if request["verdict"] == "pending":
        return bool(now < request["asked"] + PENDING_KEPT.total_seconds())
    return request["collected"] is None and bool(now < request["decided"] + ANSWER_KEPT.total_seconds())


def _known(connection: sqlite3.Connection, code_id: str) -> bool:
    return connection.execute("SELECT 1 FROM code WHERE id = ?", (code_id,)).fetchone() is not None


def _code(row: sqlite3.Row) -> Code:
    created, expires = at(row["created"]), at(row["expires"])
    assert created is not None
    assert expires is not None
    return Code(
        id=row["id"],
        count=row["count"],
        used=row["used"],
        automatic=bool(row["automatic"]),
        who=row["who"],
        created=created,
        expires=expires,
        withdrawn=at(row["withdrawn"]),
    )
