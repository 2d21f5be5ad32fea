"""The ledger: taken = stored, to the reading. What the witnesses wrote against what the database holds.

A reading was taken when the witness saw the outbox return it, or when the meter was killed in between
and the outbox turned out to have it. Each must be in the database under its (meter, epoch, seq), once,
with every value as the sensor gave it; seq runs from 1 to the outbox's last without holes; nothing
else is there. A reading with a time of the future is kept aside as a dead letter instead, by design.

>>> Ledger().balanced
True
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from bridge.packs import decode
from broker.messages import FUTURE_TOLERANCE, QUANTITIES

COLUMNS = (*QUANTITIES, "alarm")
FUTURE = FUTURE_TOLERANCE.total_seconds()
LAST_BYTES = 4096
"""Where the last line of a book surely is."""
SHOWN = 10
"""Rows that a message shows of each fault."""


class Name(NamedTuple):
    """Which reading it is, for ever."""

    meter_id: str
    epoch: int
    seq: int


class Row(NamedTuple):
    """What a reading says: ``ts`` in ms since 1970, then the quantities and the alarm."""

    ts: int
    values: tuple[float | bool | None, ...]


@dataclass(frozen=True)
class OutboxState:
    """A meter's outbox after its process has ended."""

    epoch: int
    seq: int
    dropped: int
    left: int


@dataclass
class Book:
    """What the witness of one meter wrote."""

    meter_id: str
    wanted: dict[Name, Row] = field(default_factory=dict)
    """The last reading that the outbox was given under this name."""
    ahead: dict[Name, float] = field(default_factory=dict)
    """Seconds by which the meter's clock was wrong then."""
    took: Counter[Name] = field(default_factory=Counter)

    def taken(self, outbox: OutboxState) -> set[Name]:
        """All that the outbox returned, and what it was found to have beyond that."""
        found = {name for name in self.wanted if name.epoch == outbox.epoch and name.seq <= outbox.seq}
        return found.union(self.took)


@dataclass(frozen=True)
class Stored:
    """What the database holds."""

    rows: list[tuple[Name, Row]]
    dead: list[tuple[str, bytes, str]]
    """Dead letters: topic, payload, cause."""
    packed: int = 0
    """How many of the rows were in packs."""


@dataclass
class Ledger:
    """The figures, and every fault with the rows that show it."""

    taken: int = 0
    stored: int = 0
    aside: int = 0
    """Kept aside: their time was in the future."""
    packed: int = 0
    """Of those stored, how many had been packed: their time was days ago."""
    meters: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Meter id → taken, stored, kept aside."""
    faults: dict[str, list[str]] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Taken = stored + kept aside, and nothing else is wrong."""
        return not self.faults and self.taken == self.stored + self.aside

    def tell(self, fault: str, rows: Iterable[object]) -> None:
        """Note ``rows`` under ``fault``, if there are any."""
        if shown := [str(row) for row in rows]:
            self.faults.setdefault(fault, []).extend(shown)

    def __str__(self) -> str:
        lines = [f"taken {self.taken}, stored {self.stored}, kept aside {self.aside}, packed {self.packed}"]
        for fault, rows in self.faults.items():
            lines += [f"{fault}: {len(rows)}", *(f"  {row}" for row in rows[:SHOWN])]
        return "\n".join(lines)


def audit(books: Iterable[Book], outboxes: dict[str, OutboxState], stored: Stored) -> Ledger:
    """Compare; every difference is a fault."""
    ledger = Ledger(packed=stored.packed)
    rows = dict(stored.rows)
    counts = Counter(name for name, _ in stored.rows)
    ledger.tell("stored twice", (name for name, count in counts.items() if count > 1))
    aside = set(_future(stored.dead))
    ledger.tell("dead letter that is none", _wrongly_dead(stored.dead))
    for book in books:
        _audit_outbox(ledger, book, outboxes[book.meter_id])
        _audit_meter(ledger, book, book.taken(outboxes[book.meter_id]), rows, aside)
    ledger.tell("stored, but never taken", sorted(rows))
    return ledger


def _audit_outbox(ledger: Ledger, book: Book, outbox: OutboxState) -> None:
    """The outbox forgot nothing, gave no name twice, and is empty."""
    who = book.meter_id
    ledger.tell("name given to two readings", (name for name, count in book.took.items() if count > 1))
    last = max((name.seq for name in book.took if name.epoch == outbox.epoch), default=0)
    ledger.tell("outbox went back", [f"{who}: at {outbox.seq}, was {last}"] if outbox.seq < last else [])
    ledger.tell("outbox dropped readings", [f"{who}: {outbox.dropped}"] if outbox.dropped else [])
    ledger.tell("outbox not empty", [f"{who}: {outbox.left}"] if outbox.left else [])
    seqs = {name.seq for name in book.taken(outbox) if name.epoch == outbox.epoch}
    ledger.tell(
        "hole in seq", (Name(who, outbox.epoch, seq) for seq in range(1, outbox.seq + 1) if seq not in seqs)
    )
    ledger.tell("another epoch", {name.epoch for name in book.took} - {outbox.epoch})


def _audit_meter(
    ledger: Ledger, book: Book, taken: set[Name], rows: dict[Name, Row], aside: set[Name]
) -> None:
    """Each reading that was taken is there, as it was; what is accounted for leaves ``rows``."""
    there = taken & rows.keys()
    kept = {name for name in taken - there if name in aside and book.ahead[name] > FUTURE - 1}
    ledger.tell("missing", (f"{name}: {book.wanted[name]}" for name in sorted(taken - there - kept)))
    changed = sorted(name for name in there if rows[name] != book.wanted[name])
    ledger.tell("altered", (f"{name}: {book.wanted[name]} became {rows[name]}" for name in changed))
    ledger.taken += len(taken)
    ledger.stored += len(there)
    ledger.aside += len(kept)
    ledger.meters[book.meter_id] = (len(taken), len(there), len(kept))
    for name in there:
        del rows[name]


def _future(dead: Iterable[tuple[str, bytes, str]]) -> Iterator[Name]:
    """The readings that are kept aside because their time was in the future."""
    for topic, payload, cause in dead:
        kind = topic.rpartition("/")[2]
        if kind in ("reading", "history") and _is_future(cause):
            fields = json.loads(payload)
            yield Name(topic.split("/")[-2], fields["epoch"], fields["seq"])


def _wrongly_dead(dead: Iterable[tuple[str, bytes, str]]) -> Iterator[str]:
    """Our meters send nothing bad but times of the future, when their clock was set forward."""
    return (f"{topic}: {cause}: {payload[:200]!r}" for topic, payload, cause in dead if not _is_future(cause))


def _is_future(cause: str) -> bool:
    return cause.endswith("ts: is in the future")


def read_book(path: Path) -> Book:
    """The book of the meter that the file is named after; an empty one without a file."""
    book = Book(path.stem)
    if path.exists():
        for line in path.read_bytes().splitlines():
            _enter(book, json.loads(line))
    return book


def last_left(path: Path) -> int:
    """How many readings the outbox of the meter held at the last event; 0 before the first."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LAST_BYTES))
        return int(json.loads(file.read().splitlines()[-1])["left"])


def _enter(book: Book, line: dict[str, Any]) -> None:
    match line["event"]:
        case "want":
            name = Name(book.meter_id, line["epoch"], line["seq"])
            book.wanted[name] = Row(line["ts"], tuple(line["values"].get(column) for column in COLUMNS))
            book.ahead[name] = line["ahead"]
        case "took":
            book.took[Name(book.meter_id, line["epoch"], line["seq"])] += 1


def read_outbox(path: Path) -> OutboxState:
    """The meter's own file; its process must have ended. Without a file it never took anything."""
    if not path.exists():
        return OutboxState(epoch=0, seq=0, dropped=0, left=0)
    with closing(sqlite3.connect(path)) as connection:
        ((epoch, seq, dropped),) = connection.execute("SELECT epoch, seq, dropped FROM outbox_state")
        ((left,),) = connection.execute("SELECT count(*) FROM outbox")
    return OutboxState(epoch, seq, dropped, left)


def read_stored(url: str) -> Stored:
    """All readings, rows and packs, and all dead letters, by plain SQL."""
    columns = ", ".join(f"r.{column}" for column in COLUMNS)
    readings = (
        f"SELECT m.meter_id, r.epoch, r.seq, r.ts, {columns} "
        "FROM reading r LEFT JOIN meter m ON m.key = r.meter"
    )
    with _connection(url) as connection:
        rows = [
            (Name(str(row[0]), row[1], row[2]), Row(row[3], _values(row[4:])))
            for row in connection.execute(text(readings))
        ]
        packed = list(_packed(connection))
        dead = connection.execute(text("SELECT topic, payload, cause FROM dead_letter"))
        letters = [(topic, bytes(payload), cause) for topic, payload, cause in dead]
        return Stored(rows + packed, letters, len(packed))


def _packed(connection: Connection) -> Iterator[tuple[Name, Row]]:
    """Old readings (a clock was set back for days) may have been packed meanwhile."""
    packs = (
        "SELECT m.meter_id, p.epoch, p.first_seq, p.seq, p.data "
        "FROM reading_pack p LEFT JOIN meter m ON m.key = p.meter"
    )
    for meter_id, *pack in connection.execute(text(packs)):
        for reading in decode(*pack):
            name = Name(str(meter_id), reading.epoch, reading.seq)
            yield name, Row(reading.ts, _values(reading[3:10]))


def stored_upto(url: str) -> dict[str, int]:
    """Meter id → its last stored seq."""
    query = """SELECT m.meter_id, max(r.seq) FROM meter m
        JOIN (SELECT meter, seq FROM reading UNION ALL SELECT meter, seq FROM reading_pack) r
        ON m.key = r.meter GROUP BY m.meter_id"""
    with _connection(url) as connection:
        return {str(row[0]): int(row[1]) for row in connection.execute(text(query))}


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    parsed = make_url(url)
    driver = "postgresql+psycopg" if parsed.drivername == "postgresql" else parsed.drivername
    engine = create_engine(parsed.set(drivername=driver), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _values(values: Iterable[Any]) -> tuple[float | bool | None, ...]:
    """SQLite has no booleans: its alarm is 0 or 1."""
    *quantities, alarm = values
    return (*quantities, None if alarm is None else bool(alarm))
