"""The neighbours of readings by seq, and the steps of the counter from one to the next.

>>> [step.wh for one in stretches(connection, meter, readings) for step in one.steps]  # doctest: +SKIP
[6.0, None, 1.0]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, null, select
from sqlmodel import col

from bridge.store.energy import Step, is_counted, is_settled, judged, rating_of
from bridge.store.pack_format import Columns, Counted, counted_of, unpacked
from bridge.store.plain_runs import thinned
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
    is_settled: bool
    """Whether what is stored before them decides what they follow; False of an epoch's first ones, too."""


def stretches(
    connection: Connection, meter: int, readings: Iterable[Counted], register: str = ""
) -> Iterator[Stretch]:
    """The steps that ``readings``, by epoch and seq, begin, end or decide, and those between them.

    ``register`` is as in `bridge.store.pack_format.counted_of`.
    """
    rating = _rating(connection, meter)
    for epoch, group in groupby(filter(is_counted, readings), key=attrgetter("epoch")):
        own = list(group)
        first, last = own[0].seq, own[-1].seq
        if last - first >= len(own):  # in a hole may be readings of another time, if a clock was set
            own = counted(connection, meter, epoch, first=first, last=last, register=register)
        yield _stretch(connection, meter, own, register, rating)


def stretches_of(
    connection: Connection, meter: int, columns: Columns, register: str = ""
) -> Iterator[Stretch]:
    """The same of columns by ts; of readings that are plain with few steps."""
    if (plain := thinned(columns, register, rating := _rating(connection, meter))) is not None:
        yield _stretch(connection, meter, plain, register, rating)
    else:  # by epoch and seq
        yield from stretches(connection, meter, sorted(counted_of(columns, register)), register)


_MODEL = select(col(Meter.model)).where(col(Meter.key) == bindparam("of"))


def _rating(connection: Connection, meter: int) -> float:
    return rating_of(connection.scalar(_MODEL, {"of": meter}) or "")


def _stretch(connection: Connection, meter: int, own: list[Counted], register: str, rating: float) -> Stretch:
    epoch = own[0].epoch
    earlier = backwards(connection, meter, epoch, before=own[0].seq, register=register)
    later = forwards(connection, meter, epoch, after=own[-1].seq, register=register)
    before = _until_settled(earlier, rating)[::-1]
    after = _until_settled(later, rating)
    told = judged(before, rating)
    is_open = told[-1].reading if told and told[-1].wh is None else None
    concerned = [*own, *after, *([is_open] if is_open is not None else [])]
    steps = judged((*before, *own, *after), rating)
    return Stretch(steps, concerned, is_open, is_settled(before, rating))


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
        columns = unpacked(*pack, only={*Counted._fields, register})
        found += (one for one in counted_of(columns, register) if first <= one.seq <= last)
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
    """The readings with a counter before seq ``before`` of an epoch, the nearest first."""
    return _beside(connection, (meter, epoch, register), before, backwards=True)


def forwards(
    connection: Connection, meter: int, epoch: int, *, after: int, register: str = ""
) -> Iterator[Counted]:
    """The readings with a counter after seq ``after`` of an epoch, the nearest first."""
    return _beside(connection, (meter, epoch, register), after, backwards=False)


_Whose = tuple[int, int, str]
"""Meter, epoch, register."""
_AT_ONCE = 4
"""Rows, and readings of a pack: most often two neighbours agree, and are all that is asked for."""


def _beside(connection: Connection, whose: _Whose, limit: int, *, backwards: bool) -> Iterator[Counted]:
    """Some rows and a pack at a time: of both no more than what is nearer than what was not read."""
    sign = -1 if backwards else 1
    while True:
        rows, packed = _some_rows(connection, whose, limit, sign), _of_a_pack(connection, whose, limit, sign)
        found = sorted([*rows, *packed], key=lambda one: sign * one.seq)
        if len(rows) == _AT_ONCE:
            found = [one for one in found if sign * one.seq <= sign * rows[-1].seq]
        elif not packed:
            yield from found
            return
        if packed:  # in its order; beyond it is the next pack
            found = [one for one in found if sign * one.seq <= sign * packed[-1].seq]
        yield from found
        limit = found[-1].seq


def _some_rows(connection: Connection, whose: _Whose, limit: int, sign: int) -> list[Counted]:
    meter, epoch, register = whose
    some = {"of": meter, "in_epoch": epoch, "beyond": limit}
    return [Counted._make(row) for row in connection.execute(_next_rows(register, sign), some)]


@lru_cache
def _next_rows(register: str, sign: int) -> Select[Any]:
    """Made once, as the next: SQLAlchemy takes longer to make them than databases to answer."""
    seq, beyond = _ROWS.seq, bindparam("beyond", type_=_ROWS.seq.type)
    return (
        select(*_counted(register))
        .where(_ROWS.meter == bindparam("of"), _ROWS.epoch == bindparam("in_epoch", type_=_ROWS.epoch.type))
        .where(_counter(register).is_not(None), seq > beyond if sign > 0 else seq < beyond)
        .order_by(seq if sign > 0 else seq.desc())
        .limit(_AT_ONCE)
    )


def _of_a_pack(connection: Connection, whose: _Whose, limit: int, sign: int) -> list[Counted]:
    """Those of the nearest pack with a counter, the nearest first; packs without one are passed over."""
    meter, epoch, register = whose
    beyond = limit
    while True:
        some = {"of": meter, "in_epoch": epoch, "beyond": beyond}
        pack = connection.execute(_next_pack(sign), some).first()
        if pack is None:
            return []
        columns = unpacked(*pack, only={*Counted._fields, register})
        ordered = {name: values[::sign] for name, values in columns.items()}
        readings = (
            reading
            for reading in counted_of(ordered, register)
            if reading.counter is not None and sign * reading.seq > sign * limit
        )
        if found := list(islice(readings, _AT_ONCE)):
            return found
        beyond = pack.seq if sign > 0 else pack.first_seq


@lru_cache
def _next_pack(sign: int) -> Select[int, int, int, bytes]:
    seq, beyond = col(Pack.seq), bindparam("beyond", type_=_ROWS.seq.type)
    return (
        select(*_PACK_COLUMNS)
        .where(col(Pack.meter) == bindparam("of"))
        .where(col(Pack.epoch) == bindparam("in_epoch", type_=_ROWS.epoch.type))
        .where(seq > beyond if sign > 0 else col(Pack.first_seq) < beyond)
        .order_by(seq if sign > 0 else seq.desc())
        .limit(1)
    )
