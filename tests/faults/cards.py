"""Memory cards that were copied: what each copy knew, and what must be stored of it.

When a meter's card was copied (``copied`` in its book), the older copy is put back later (``restored``), or a
twin runs on it (``twin``), with a book of its own. Then a name says little: two copies give one name to two
readings, and readings get new names. What counts is the content, each as often as it was taken:

* what the card took that is left at the end is stored;
* what any card was told that it may forget is stored;
* what else a card took that is gone may be lost with it;
* nothing is stored more often than it was taken, or under a name that no card ever gave it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from broker.contract.messages import FUTURE_TOLERANCE
from broker.contract.quantities import QUANTITIES

COLUMNS = (*QUANTITIES, "alarm")
AHEAD = FUTURE_TOLERANCE.total_seconds() - 1
"""A clock that is wrong by more may have made a reading of the future."""


class Name(NamedTuple):
    """Which reading it is, for ever, unless its meter's card was copied."""

    meter_id: str
    epoch: int
    seq: int


class Row(NamedTuple):
    """What a reading says: ``ts`` in ms since 1970, then the quantities and the alarm."""

    ts: int
    values: tuple[float | bool | None, ...]


class Taken(NamedTuple):
    """A reading by the first name that it got: the same one on all copies of a card."""

    name: Name
    row: Row


def name_and_row(meter_id: str, line: Mapping[str, Any]) -> Taken:
    """The reading that a line of a book tells."""
    row = Row(line["ts"], tuple(line["values"].get(column) for column in COLUMNS))
    return Taken(Name(meter_id, line["epoch"], line["seq"]), row)


@dataclass
class Card:
    """All that one card took, and its copies before it."""

    meter_id: str
    ahead: dict[Taken, float] = field(default_factory=dict)
    """Every reading that it took, and by how many seconds the clock was wrong then."""
    names: dict[Name, Taken] = field(default_factory=dict)
    """Every name that it gave."""
    confirmed: set[Taken] = field(default_factory=set)
    strange: list[Name] = field(default_factory=list)
    """Held without having been taken."""
    _held: dict[Name, Taken] = field(default_factory=dict)
    _wanted: tuple[Taken, float] | None = None

    def enter(self, line: Mapping[str, Any]) -> None:
        """The next line of its book."""
        match line["event"]:
            case "want":
                self._wanted = name_and_row(self.meter_id, line), line["ahead"]
            case "took":
                self._take()
            case "opened":
                self.ended(line["seq"])
            case "held":
                self._hold(name_and_row(self.meter_id, line))
            case "freed":
                self._free(line["epoch"], line["first"], line["seq"])

    def ended(self, seq: int) -> None:
        """Its process was killed, and the outbox turned out to be at ``seq``."""
        if self._wanted is not None and self._wanted[0].name.seq <= seq:
            self._take()
        self._wanted = None

    @property
    def possible(self) -> set[Taken]:
        """What it took, and what it may have taken when its process was killed for good."""
        return self.ahead.keys() | ({self._wanted[0]} if self._wanted else set())

    def _take(self) -> None:
        if self._wanted is not None:
            taken, self.ahead[taken] = self._wanted
            self.names[taken.name] = self._held[taken.name] = taken
            self._wanted = None

    def _hold(self, told: Taken) -> None:
        """It has this reading, maybe in another epoch; the number stays."""
        if told.name in self._held:
            return
        own = (name for name in self._held if name.seq == told.name.seq)
        old = next((name for name in own if self._held[name].row == told.row), None)
        if old is None:
            self.strange.append(told.name)
        else:
            self.names[told.name] = self._held[told.name] = self._held.pop(old)

    def _free(self, epoch: int, first: int, last: int) -> None:
        for seq in range(first, last + 1):
            taken = self._held.pop(Name(self.meter_id, epoch, seq), None)
            if taken is not None:
                self.confirmed.add(taken)


def read_cards(path: Path) -> list[Card]:
    """The cards of the meter that the book is named after; the last one is left at the end."""
    cards, copy = [], Card(path.stem)
    card = copy
    for line in _lines(path):
        match line["event"]:
            case "copied":
                copy = deepcopy(card)
            case "restored":
                cards.append(card)
                card = deepcopy(copy)
            case "twin":
                twin = deepcopy(copy)
                for its in _lines(path.parents[1] / line["folder"] / path.name):
                    twin.enter(its)
                cards.append(twin)
            case _:
                card.enter(line)
    return [*cards, card]


def _lines(path: Path) -> Iterable[Mapping[str, Any]]:
    return map(json.loads, path.read_bytes().splitlines()) if path.exists() else ()


@dataclass
class Account:
    """What became of the readings of one meter whose card was copied."""

    taken: int
    stored: int
    aside: int
    lost: int
    """They were on a card that is gone, and were not confirmed: they may be lost."""
    faults: dict[str, list[object]]


def account(cards: list[Card], rows: Collection[Taken], aside: Collection[Name]) -> Account:
    """Compare what the cards took with ``rows``, which are stored, and ``aside``, names of dead letters."""
    possible = set[Taken]().union(*(card.possible for card in cards))
    confirmed = set[Taken]().union(*(card.confirmed for card in cards))
    given = {Taken(name, taken.row) for card in cards for name, taken in card.names.items()} | possible
    must = confirmed | cards[-1].ahead.keys()
    laid = Counter(taken.row for taken in _aside(cards, aside) & must)
    may, there = (Counter(taken.row for taken in some) for some in (possible, rows))
    wanted = Counter(taken.row for taken in must)
    missing = wanted - there - laid
    absent = sorted((taken for taken in must if taken.row in missing), key=str)
    faults: dict[str, list[object]] = {
        "confirmed, but not stored": [taken for taken in absent if taken in confirmed],
        "missing": [taken for taken in absent if taken not in confirmed],
        "stored twice": [taken for taken in rows if 0 < may[taken.row] < there[taken.row]],
        "stored, but never taken": [taken for taken in rows if not may[taken.row]],
        "stored under another name": [taken for taken in rows if may[taken.row] and taken not in given],
        "held, but never taken": [name for card in cards for name in card.strange],
    }
    stored, owed = (there & may).total(), (wanted - there).total()
    lost = (may - wanted - (there - wanted)).total()
    return Account(stored + owed, stored, owed - missing.total(), lost, faults)


def _aside(cards: Iterable[Card], names: Collection[Name]) -> set[Taken]:
    """The readings that may be dead letters, because their time was in the future, and are."""
    return {
        taken
        for card in cards
        for name, taken in card.names.items()
        if name in names and card.ahead[taken] > AHEAD
    }
