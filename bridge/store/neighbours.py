"""The neighbours of readings by seq, and the steps of the counter from one to the next.

>>> [step.wh for one in stretches(connection, meter, readings) for step in one.steps]  # doctest: +SKIP
[6.0, None, 1.0]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, null, select
from sqlmodel import col

from bridge.store.energy import Step, is_counted, is_settled, judged, rating_of
from bridge.store.pack_format import Counted, counted_of, unpacked
from bridge.store.present import READING
from bridge.store.tables import Meter, Pack

_ROWS = READING.c
_PACK_COLUMNS = (col(Pack.epoch), col(Pack.first_seq), col(Pack.seq), col(Pack.data))
_MOST_BESIDE = 1000
"""Readings that are looked at on each side of an hour, if no two neighbours agree: of a broken meter."""


@dataclass(frozen=True)
class Stretch:
    """Readings of one epoch that follow each other, and what the rule says of them."""

    steps: list[Step]
    """From somewhat before the readings that it was made for, until somewhat after them."""
    concerned: list[Counted]
    """Readings whose steps may be others because of these."""
    is_open: Counted | None
    """The reading before them, if it was doubtful until they came."""


def stretches(
    connection: Connection, meter: int, readings: Iterable[Counted], register: str = ""
) -> Iterator[Stretch]:
    """The steps that ``readings``, by epoch and seq, begin, end or decide, and those between them.

    ``register`` is as in `bridge.store.pack_format.counted_of`.
    """
    rating = rating_of(connection.scalar(select(col(Meter.model)).where(col(Meter.key) == meter)) or "")
    for epoch, group in groupby(filter(is_counted, readings), key=attrgetter("epoch")):
        own = list(group)
        first, last = own[0].seq, own[-1].seq
        if last - first >= len(own):  # in a hole may be readings of another time, if a clock was set
            own = counted(connection, meter, epoch, first=first, last=last, register=register)
        earlier = backwards(connection, meter, epoch, before=first, register=register)
        later = forwards(connection, meter, epoch, after=last, register=register)
        before = _until_settled(earlier, rating)[::-1]
        after = _until_settled(later, rating)
        told = judged(before, rating)
        is_open = told[-1].reading if told and told[-1].wh is None else None
        concerned = [*own, *after, *([is_open] if is_open is not None else [])]
        yield Stretch(judged((*before, *own, *after), rating), concerned, is_open)


def _until_settled(readings: Iterator[Counted], rating: float) -> list[Counted]:
    """The first of ``readings`` until two of them agree, whichever of the two is the earlier one."""
    found: list[Counted] = []
    for reading in filter(is_counted, readings):
        found.append(reading)
        if is_settled(sorted(found[-2:], key=attrgetter("seq")), rating) or len(found) == _MOST_BESIDE:
            break
    return found


def counted(
    connection: Connection, meter: int, epoch: int, *, first: int, last: int, register: str = ""
) -> list[Counted]:
    """The readings with a counter from seq ``first`` to ``last`` of an epoch, by seq.

    Here and below, ``register`` is as in `bridge.store.pack_format.counted_of`.
    """
    rows = select(*_counted(register)).where(
        _ROWS.meter == meter, _ROWS.epoch == epoch, _ROWS.seq.between(first, last)
    )
    pieces = select(*_PACK_COLUMNS).where(
        col(Pack.meter) == meter,
        col(Pack.epoch) == epoch,
        col(Pack.seq) >= first,
        col(Pack.first_seq) <= last,
    )
    found = [Counted._make(row) for row in connection.execute(rows)]
    for pack in connection.execute(pieces):
        found += (one for one in counted_of(unpacked(*pack), register) if first <= one.seq <= last)
    return sorted((reading for reading in found if reading.counter is not None), key=attrgetter("seq"))


@lru_cache
def _counted(register: str) -> tuple[ColumnElement[Any], ...]:
    """The columns of `Counted`."""
    if not register:
        return tuple(_ROWS[name] for name in Counted._fields)
    instead = {"energy": null(), "energy_import": _ROWS[register]}
    return tuple(instead.get(name, _ROWS[name]) for name in Counted._fields)


@lru_cache
def _counter(register: str) -> ColumnElement[Any]:
    """`Counted.counter`."""
    return _ROWS[register] if register else func.coalesce(_ROWS.energy, _ROWS.energy_import)


def backwards(
    connection: Connection, meter: int, epoch: int, *, before: int, register: str = ""
) -> Iterator[Counted]:
    """The readings with a counter before seq ``before`` of an epoch, the nearest first; each is looked up."""
    found = neighbour(connection, meter, epoch, before=before, register=register)
    while found is not None:
        yield found
        found = neighbour(connection, meter, epoch, before=found.seq, register=register)


def forwards(
    connection: Connection, meter: int, epoch: int, *, after: int, register: str = ""
) -> Iterator[Counted]:
    """The readings with a counter after seq ``after`` of an epoch, the nearest first; each is looked up."""
    found = neighbour(connection, meter, epoch, after=after, register=register)
    while found is not None:
        yield found
        found = neighbour(connection, meter, epoch, after=found.seq, register=register)


def neighbour(
    connection: Connection,
    meter: int,
    epoch: int,
    *,
    before: int | None = None,
    after: int | None = None,
    register: str = "",
) -> Counted | None:
    """The nearest reading with a counter ``before`` or ``after`` a seq in the same epoch."""
    backwards = before is not None
    limit = before if before is not None else after
    assert limit is not None
    same = (_ROWS.meter == meter, _ROWS.epoch == epoch, _counter(register).is_not(None))
    seq = _ROWS.seq
    row = connection.execute(
        select(*_counted(register))
        .where(*same, seq < limit if backwards else seq > limit)
        .order_by(seq.desc() if backwards else seq)
        .limit(1)
    ).first()
    found = [Counted._make(row)] if row is not None else []
    found += _packed_neighbour(connection, meter, epoch, limit, register, backwards=backwards)
    choose = max if backwards else min
    return choose(found, key=lambda reading: reading.seq, default=None)


def _packed_neighbour(
    connection: Connection, meter: int, epoch: int, limit: int, register: str, *, backwards: bool
) -> list[Counted]:
    """The nearest packed reading with a counter, if any; packs without one are passed over."""
    packs = select(*_PACK_COLUMNS).where(col(Pack.meter) == meter, col(Pack.epoch) == epoch).limit(1)
    backward, forward = packs.order_by(col(Pack.seq).desc()), packs.order_by(col(Pack.seq))
    beyond = limit
    while True:
        reach = col(Pack.first_seq) < beyond if backwards else col(Pack.seq) > beyond
        pack = connection.execute((backward if backwards else forward).where(reach)).first()
        if pack is None:
            return []
        readings = [
            reading
            for reading in counted_of(unpacked(*pack), register)
            if reading.counter is not None and (reading.seq < limit if backwards else reading.seq > limit)
        ]
        if readings:
            return [readings[-1] if backwards else readings[0]]
        beyond = pack.first_seq if backwards else pack.seq
