"""A meter's place for life: its IED and the number of its logical device; and the spare ones of each IED.

A meter of the kind of a spare logical device takes the first such one: the IED stays as it is, but for
texts. Another meter gets a number of its own, and its IED, which is a new configuration now anyway, is filled
up with spare ones of the kind that most of its meters are.

>>> Places(limit=50, spare=10).room(filled=45, free=2)
5
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sqlalchemy import Connection, func
from sqlmodel import Session, col, select

from bridge.ingest.ied_names import next_ied
from bridge.store.ld_names import LdNames, recorded
from bridge.store.tables import Meter, Spare
from scl_builder.model.logical_devices import SINGLE_PHASE, profile_of

_REGISTRY = 61852
"""PostgreSQL advisory lock: one bridge writes registry and ledger at a time."""

Kind = tuple[str, bool]
"""Name of a profile, and whether there is a relay: a meter fits a logical device of its kind."""


class Use(StrEnum):
    """What has become of a spare logical device."""

    FREE = "free"
    TAKEN = "taken"
    DROPPED = "dropped"


CHANGES = {Use.FREE: 1, Use.TAKEN: 1, Use.DROPPED: 2}
"""How often the members of an IED's data sets have changed with a spare device: it joined, and left."""


@dataclass(frozen=True)
class Places:
    """The rules of where meters go."""

    limit: int
    """Logical devices of one IED: meters, those withdrawn included, and spare ones."""
    by_address_code: bool = False
    spare: int = 0
    """Spare logical devices that an IED gets."""

    def room(self, *, filled: int, free: int) -> int:
        """How many spare ones an IED gets that has ``free`` of them among its ``filled`` places."""
        return max(0, min(self.spare - free, self.limit - filled))


def lock(connection: Connection) -> None:
    """Two bridges must not fill one place twice: one of them writes the registry until its commit."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_REGISTRY})")


def assign(session: Session, meters: Iterable[Meter], rules: Places) -> None:
    """Give every born meter without a place one, if told in an IED of its address code."""
    homeless = [meter for meter in meters if meter.born_at is not None and meter.ied is None]
    if not homeless:
        return
    taken = _Taken(session, _allowed(session, rules))
    grown: dict[str, None] = {}
    for meter in homeless:
        if not taken.bind(meter):
            grown[taken.place(meter)] = None
    session.flush()
    for ied in grown:
        taken.fill_up(ied)


def settle(session: Session, rules: Places) -> None:
    """Once, at a start: each IED in use that never had spare logical devices gets them; or none has any more.

    What is changed between two starts is changed by a birth, so that a start makes no configuration.
    """
    if not _allowed(session, rules).spare:
        for one in session.exec(select(Spare).where(Spare.use == Use.FREE)):
            one.use = Use.DROPPED
        return
    in_use = select(Meter.ied).where(col(Meter.born_at).is_not(None), col(Meter.retired_at).is_(None))
    had = set(session.exec(select(Spare.ied).distinct()))
    without = sorted({str(ied) for ied in session.exec(in_use.distinct()) if ied is not None} - had)
    if not without:
        return
    taken = _Taken(session, rules)
    for ied in without:
        taken.fill_up(ied)


def _allowed(session: Session, rules: Places) -> Places:
    """Without spare devices where names are made of meter_ids: a device's name could not stay."""
    if rules.spare and recorded(session.connection()).names is LdNames.METER_ID:
        return replace(rules, spare=0)
    return rules


def kind_of(one: Meter | Spare) -> Kind:
    """What a meter must be for a logical device to be its."""
    return profile_of(one.quantities.split(",")).name, one.has_relay


@dataclass
class _Taken:
    """The places that are taken, and the spare logical devices that are free."""

    session: Session
    rules: Places
    filled: Counter[str] = field(default_factory=Counter)
    homes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Address code → IEDs of it."""
    free: dict[Kind, list[Spare]] = field(default_factory=lambda: defaultdict(list))
    """By number."""
    last: int = 0
    """The highest number so far."""

    def __post_init__(self) -> None:
        group = (col(Meter.ied), col(Meter.address_code))
        rows = select(*group, func.count(), func.max(Meter.number)).where(group[0].is_not(None))
        for ied, code, count, number in self.session.exec(rows.group_by(*group)):
            self.filled[str(ied)] += count
            self.homes[code].add(str(ied))
            self.last = max(self.last, number or 0)
        self.last = max(self.last, self.session.exec(select(func.max(Spare.number))).one() or 0)
        if not self.rules.spare:
            return
        for spare in self.session.exec(
            select(Spare).where(Spare.use == Use.FREE).order_by(col(Spare.number))
        ):
            self.filled[spare.ied] += 1
            self.free[kind_of(spare)].append(spare)

    def bind(self, meter: Meter) -> bool:
        """Make the first spare logical device that fits the meter's; False if there is none."""
        among = self._among(meter)
        fitting = self.free[kind_of(meter)]
        found = next((spare for spare in fitting if among is None or spare.ied in among), None)
        if found is None:
            return False
        fitting.remove(found)
        found.use = Use.TAKEN
        meter.ied, meter.number = found.ied, found.number
        meter.changes -= 1  # its IED has counted the logical device when that was made
        self.homes[meter.address_code].add(found.ied)
        return True

    def place(self, meter: Meter) -> str:
        """Give the meter a logical device that was not there before; its IED."""
        ied = next_ied(self.filled, limit=self.rules.limit, among=self._among(meter))
        self.last += 1
        meter.ied, meter.number = ied, self.last
        self.filled[ied] += 1
        self.homes[meter.address_code].add(ied)
        return ied

    def _among(self, meter: Meter) -> Collection[str] | None:
        return self.homes[meter.address_code] if self.rules.by_address_code else None

    def fill_up(self, ied: str) -> None:
        """Make spare logical devices in ``ied``, as the rules say."""
        free = sum(spare.ied == ied for spares in self.free.values() for spare in spares)
        count = self.rules.room(filled=self.filled[ied], free=free)
        if not count or (usual := self._usual(ied)) is None:
            return
        quantities, relay = usual
        for _ in range(count):
            self.last += 1
            spare = Spare(number=self.last, ied=ied, quantities=quantities, has_relay=relay, use=Use.FREE)
            self.session.add(spare)
            self.filled[ied] += 1

    def _usual(self, ied: str) -> tuple[str, bool] | None:
        """Quantities and relay of the kind that most meters of ``ied`` are; None if all are withdrawn.

        Of kinds that are as many the one with a relay counts, then the one of a single phase.
        """
        there = (Meter.ied == ied, col(Meter.born_at).is_not(None), col(Meter.retired_at).is_(None))
        counts: Counter[Kind] = Counter()
        some: dict[Kind, tuple[str, bool]] = {}
        for quantities, relay in self.session.exec(select(Meter.quantities, Meter.has_relay).where(*there)):
            kind = profile_of(quantities.split(",")).name, relay
            counts[kind] += 1
            some[kind] = min(some.get(kind, (quantities, relay)), (quantities, relay))
        if not counts:
            return None
        usual = max(counts, key=lambda kind: (counts[kind], kind[1], kind[0] == SINGLE_PHASE.name, kind))
        return some[usual]
