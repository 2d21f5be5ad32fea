"""The ledger: taken = stored, to the reading. What the witnesses wrote against what the database holds.

A reading was taken when the witness saw the outbox return it, or when the meter was killed in between
and the outbox turned out to have it. Each must be in the database under its (meter, epoch, seq), once,
with every value as the sensor gave it; seq runs from 1 to the outbox's last without holes; nothing
else is there. A reading with a time of the future is kept aside as a dead letter instead, by design.
Of a meter whose memory card was copied the content counts instead, by the rules of `cards`.

>>> Ledger().balanced
True
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.ingest.disputes import CAUSE as DISPUTED
from bridge.ingest.parse import EARLY
from bridge.store.dead_letters import MORE
from tests.faults.cards import AHEAD, Card, Name, Row, Taken, account, name_and_row, read_cards
from tests.faults.stored import Stored

LAST_BYTES = 4096
"""Where the last line of a book surely is."""
SHOWN = 10
"""Rows that a message shows of each fault."""


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
    cards: list[Card] = field(default_factory=list)
    """All copies of its memory card, if there was ever more than one."""

    def taken(self, outbox: OutboxState) -> set[Name]:
        """All that the outbox returned, and what it was found to have beyond that."""
        found = {name for name in self.wanted if name.epoch == outbox.epoch and name.seq <= outbox.seq}
        return found.union(self.took)


@dataclass
class Ledger:
    """The figures, and every fault with the rows that show it."""

    taken: int = 0
    stored: int = 0
    aside: int = 0
    """Kept aside: their time was in the future."""
    packed: int = 0
    """Of those stored, how many had been packed: their time was days ago."""
    lost: int = 0
    """Not taken into account: they were on a memory card that is gone, and nobody had confirmed them."""
    meters: dict[str, tuple[int, int, int, int]] = field(default_factory=dict)
    """Meter id → taken, stored, kept aside, lost with a card."""
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
        figures = f"taken {self.taken}, stored {self.stored}, kept aside {self.aside}, packed {self.packed}"
        lines = [f"{figures}, lost with a card {self.lost}"]
        for fault, rows in self.faults.items():
            lines += [f"{fault}: {len(rows)}", *(f"  {row}" for row in rows[:SHOWN])]
        return "\n".join(lines)


def audit(books: Iterable[Book], outboxes: dict[str, OutboxState], stored: Stored) -> Ledger:
    """Compare; every difference is a fault."""
    books, ledger = list(books), Ledger(packed=stored.packed)
    copied = {book.meter_id for book in books if book.cards}
    exact = [(name, row) for name, row in stored.rows if name.meter_id not in copied]
    rows = dict(exact)
    for fault, names in (
        ("stored twice", _twice(name for name, _ in exact)),
        ("name stored twice", _twice(name for name, _ in stored.rows if name.meter_id in copied)),
        ("dead letter that is none", _wrongly_dead(stored.dead, copied)),
    ):
        ledger.tell(fault, names)
    aside = set(_future(stored.dead))
    for book in books:
        outbox = outboxes[book.meter_id]
        _audit_outbox(ledger, book, outbox)
        if book.cards:
            own = [Taken(name, row) for name, row in stored.rows if name.meter_id == book.meter_id]
            _audit_cards(ledger, book, outbox, own, aside)
        else:
            _audit_names(ledger, book, outbox)
            _audit_meter(ledger, book, book.taken(outbox), rows, aside)
    ledger.tell("stored, but never taken", sorted(rows))
    return ledger


def _twice(names: Iterable[Name]) -> Iterator[Name]:
    return (name for name, count in Counter(names).items() if count > 1)


def _audit_outbox(ledger: Ledger, book: Book, outbox: OutboxState) -> None:
    """The outbox dropped nothing, and is empty."""
    who = book.meter_id
    ledger.tell("outbox dropped readings", [f"{who}: {outbox.dropped}"] if outbox.dropped else [])
    ledger.tell("outbox not empty", [f"{who}: {outbox.left}"] if outbox.left else [])


def _audit_names(ledger: Ledger, book: Book, outbox: OutboxState) -> None:
    """The outbox gave no name twice, and left none out."""
    who = book.meter_id
    ledger.tell("name given to two readings", _twice(book.took.elements()))
    last = max((name.seq for name in book.took if name.epoch == outbox.epoch), default=0)
    ledger.tell("outbox went back", [f"{who}: at {outbox.seq}, was {last}"] if outbox.seq < last else [])
    seqs = {name.seq for name in book.taken(outbox) if name.epoch == outbox.epoch}
    ledger.tell(
        "hole in seq", (Name(who, outbox.epoch, seq) for seq in range(1, outbox.seq + 1) if seq not in seqs)
    )
    ledger.tell("another epoch", {name.epoch for name in book.took} - {outbox.epoch})


def _audit_cards(
    ledger: Ledger, book: Book, outbox: OutboxState, rows: list[Taken], aside: set[Name]
) -> None:
    """The same, by content; the card that is left numbered all that it took, under whatever epoch."""
    card, who = book.cards[-1], book.meter_id
    card.ended(outbox.seq)
    last, seqs = max((name.seq for name in card.names), default=0), {name.seq for name in card.names}
    ledger.tell("outbox went back", [f"{who}: at {outbox.seq}, was {last}"] if outbox.seq < last else [])
    ledger.tell("hole in seq", (f"{who}: {seq}" for seq in range(1, outbox.seq + 1) if seq not in seqs))
    found = account(book.cards, rows, aside)
    for fault, told in found.faults.items():
        ledger.tell(fault, told)
    ledger.taken += found.taken
    ledger.stored += found.stored
    ledger.aside += found.aside
    ledger.lost += found.lost
    ledger.meters[who] = (found.taken, found.stored, found.aside, found.lost)


def _audit_meter(
    ledger: Ledger, book: Book, taken: set[Name], rows: dict[Name, Row], aside: set[Name]
) -> None:
    """Each reading that was taken is there, as it was; what is accounted for leaves ``rows``."""
    there = taken & rows.keys()
    kept = {name for name in taken - there if name in aside and book.ahead[name] > AHEAD}
    ledger.tell("missing", (f"{name}: {book.wanted[name]}" for name in sorted(taken - there - kept)))
    changed = sorted(name for name in there if rows[name] != book.wanted[name])
    ledger.tell("altered", (f"{name}: {book.wanted[name]} became {rows[name]}" for name in changed))
    ledger.taken += len(taken)
    ledger.stored += len(there)
    ledger.aside += len(kept)
    ledger.meters[book.meter_id] = (len(taken), len(there), len(kept), 0)
    for name in there:
        del rows[name]


def _future(dead: Iterable[tuple[str, bytes, str]]) -> Iterator[Name]:
    """The readings that are kept aside because their time was in the future."""
    for topic, payload, cause in dead:
        kind = topic.rpartition("/")[2]
        if kind in ("reading", "history") and _is_future(cause):
            fields = json.loads(payload)
            yield Name(topic.split("/")[-2], fields["epoch"], fields["seq"])


def _wrongly_dead(dead: Iterable[tuple[str, bytes, str]], copied: set[str]) -> Iterator[str]:
    """Our meters send nothing bad but times of the future, when their clock was set forward.

    Those whose card was ``copied`` send names that other readings have, too; many of them only count.
    """
    known = copied | {MORE} if copied else copied
    for topic, payload, cause in dead:
        disputed = cause == DISPUTED and not known.isdisjoint(topic.split("/"))
        waits = cause == EARLY and not payload  # it was left out, and comes again
        if not (disputed or waits or _is_future(cause)):
            yield f"{topic}: {cause}: {payload[:200]!r}"


def _is_future(cause: str) -> bool:
    return cause.endswith("ts: is in the future")


def read_book(path: Path) -> Book:
    """The book of the meter that the file is named after; an empty one without a file."""
    book = Book(path.stem)
    if path.exists():
        for line in path.read_bytes().splitlines():
            _enter(book, json.loads(line))
    cards = read_cards(path)
    book.cards = cards if len(cards) > 1 else []
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
            name, book.wanted[name] = name_and_row(book.meter_id, line)
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


def flows(path: Path, *, after: int) -> bool:
    """Whether a reading that the meter took was confirmed, as its book tells from byte ``after`` on."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(after)
        lines = [json.loads(line) for line in file.read().splitlines()]
    took = {(line["epoch"], line["seq"]) for line in lines if line["event"] == "took"}
    freed = (line for line in lines if line["event"] == "freed")
    return any(
        (line["epoch"], seq) in took for line in freed for seq in range(line["first"], line["seq"] + 1)
    )
