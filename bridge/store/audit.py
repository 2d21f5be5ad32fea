"""The audit: an append-only log in which each row carries the hash of the one before it.

Any process with the database may append, at the same time as others: the chain is held by one
transaction at a time (SQLite: the write lock; PostgreSQL: an advisory lock until the commit). Who
appends inside a larger transaction does it last: then who holds the chain waits for nobody, and no
deadlock can come of it. A row that was committed is never changed; `bridge.store.audit_verify` finds what was
changed nevertheless. Readings do not go into it.

>>> event = Event(Kind.CREDENTIALS_REVOKED, who="anna", origin="cli desk4", identity="operator-7")
>>> record(engine, event)  # a transaction of its own  # doctest: +SKIP
Head(no=17, hash='5f0c…')
>>> append(connection, [event], now=now)  # the last thing in yours  # doctest: +SKIP
Head(no=18, hash='b411…')
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic, sleep, time_ns
from typing import Any, NamedTuple, Self

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import OperationalError
from sqlmodel import col

from bridge.store.tables import Audit
from broker.contract.errors import ConfigurationError, UnavailableError

FIRST = "0" * 64
"""``previous`` of the first row."""
FORM = "meter61850-audit-1"
"""Begins what is hashed: another form of the rows would begin otherwise."""
HASHED = ("no", "ts", "event", "who", "origin", "meter_id", "identity", "outcome", "detail", "previous")
"""The columns in the order in which they are hashed."""
_LENGTHS = {"who": 255, "origin": 255, "meter_id": 36, "identity": 255, "outcome": 32}
_LOCK = 61853
"""PostgreSQL advisory lock: one transaction at a time appends."""
_PATIENCE_SECONDS = 10.0
"""How long :func:`record` tries while others hold SQLite's write lock."""


class Kind(StrEnum):
    """What happened; the names are kept for ever."""

    ENROLMENT_CODE_MADE = "enrolment-code-made"
    ENROLMENT_ASKED = "enrolment-asked"
    ENROLMENT_APPROVED = "enrolment-approved"
    ENROLMENT_REFUSED = "enrolment-refused"
    RIGHTS_CHANGED = "rights-changed"
    CREDENTIALS_ISSUED = "credentials-issued"
    CREDENTIALS_ROTATED = "credentials-rotated"
    CREDENTIALS_REVOKED = "credentials-revoked"
    METER_BLOCKED = "meter-blocked"
    """Cut off: not the interlock of its relay, which is ``relay-block``."""
    METER_UNBLOCKED = "meter-unblocked"
    DEVICE_FORGOTTEN = "device-forgotten"
    """A serial number belongs to no meter any more."""
    METER_RETIRED = "meter-retired"
    METER_REPLACED = "meter-replaced"
    """Its sensor has another serial number from now on."""
    METER_RETURNED = "meter-returned"
    """Born again after it was retired."""
    COMMAND_ISSUED = "command-issued"
    COMMAND_REPEATED = "command-repeated"
    """The same command_id was published again."""
    COMMAND_ENDED = "command-ended"
    RELAY_BLOCK = "relay-block"
    """What is blocked of a relay's operations was changed, or was to be."""
    LOGIN = "login"
    """Somebody logged in at the web or out again, or was not let in."""
    WEB = "web"
    """Another write at the web, or a refusal; the detail says which."""
    ALARM_ACKNOWLEDGED = "alarm-acknowledged"
    CREDIT = "credit"
    """An account was opened or closed, or a person booked on it; the detail says what."""
    AUDIT_BROKEN = "audit-broken"
    """The bridge does not find the end of the audit that it remembers."""


@dataclass(frozen=True)
class Event:
    """One thing to be recorded; texts are cut to their column, NUL and what is no Unicode replaced."""

    kind: Kind
    who: str = ""
    origin: str = ""
    """From where."""
    meter_id: str = ""
    identity: str = ""
    outcome: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What JSON can hold; other values as their text."""


class Head(NamedTuple):
    """The end of the chain: whoever remembers it can tell whether it was cut or written anew."""

    no: int
    hash: str

    def __str__(self) -> str:
        return f"{self.no}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of ``str()``; ConfigurationError for any other text."""
        no, _, digest = text.strip().partition(":")
        if not no.isdecimal() or len(digest) != len(FIRST) or set(digest) - set("0123456789abcdef"):
            raise ConfigurationError(f"{text[:80]!r} is no head of the audit: NO:HASH, as verify prints it")
        return cls(int(no), digest)


NOTHING = Head(0, FIRST)
"""The head of an empty audit."""


def now_ms() -> int:
    """ms since 1970 UTC."""
    return time_ns() // 1_000_000


def record(engine: Engine, *events: Event) -> Head:
    """Append in a transaction of its own; UnavailableError when others hold SQLite for 10 s."""
    end = monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with engine.begin() as connection:
                return append(connection, events, now=now_ms())
        except OperationalError as error:
            if "locked" not in str(error.orig):
                raise
            if monotonic() > end:
                raise UnavailableError("the audit is not written: others hold the database") from error
            sleep(0.01)  # SQLite's lock is not fair: who has just had it takes it again


def append(connection: Connection, events: Sequence[Event], *, now: int) -> Head:
    """Append ``events`` (in ms ``now``) inside the caller's transaction, as the last thing in it.

    The connection is one of `bridge.store.database.connect` that may write, on PostgreSQL in READ COMMITTED
    (the default).
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    end = head(connection)
    rows = list(_rows(events, end, now))
    if rows:
        connection.execute(insert(Audit), rows)
        end = Head(rows[-1]["no"], rows[-1]["hash"])
    return end


def head(connection: Connection) -> Head:
    """Where the chain ends now."""
    last = select(col(Audit.no), col(Audit.hash)).order_by(col(Audit.no).desc()).limit(1)
    row = connection.execute(last).first()
    return Head(*row) if row else NOTHING


def _rows(events: Sequence[Event], end: Head, now: int) -> Iterator[dict[str, Any]]:
    """The rows that follow ``end``."""
    for no, event in enumerate(events, end.no + 1):
        row = {"no": no, "ts": now, "previous": end.hash, **content(event)}
        end = Head(no, digest(row))
        yield row | {"hash": end.hash}


def content(event: Event) -> dict[str, str]:
    """The columns of a row that are the event's own."""
    texts = {name: clean(getattr(event, name), length) for name, length in _LENGTHS.items()}
    return {"event": str(event.kind), "detail": canonical(event.detail), **texts}


def clean(text: str, length: int) -> str:
    """``text`` as every database keeps it: no NUL, no half of a surrogate pair, at most ``length`` long."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()[:length]


def canonical(detail: Mapping[str, Any]) -> str:
    """One text for one object: ASCII, keys sorted, no spaces."""
    return json.dumps(dict(detail), sort_keys=True, separators=(",", ":"), default=str)


def detail_of(text: str) -> dict[str, Any]:
    """The object of a row's ``detail``; a value that was manipulated is shown as it is."""
    try:
        detail = json.loads(text)
    except ValueError:
        detail = None
    return detail if isinstance(detail, dict) else {"not as it was written": text}


def digest(row: Mapping[str, Any]) -> str:
    """SHA-256 over a JSON array of :data:`FORM` and the columns of :data:`HASHED`; in hex."""
    fields = [FORM, *(row[name] for name in HASHED)]
    return hashlib.sha256(json.dumps(fields, separators=(",", ":"), default=repr).encode()).hexdigest()
