"""Raw and corrected registers of meters at local midnights and ends of months.

Raw is what the meter showed: of the last reading at or before the time, or the first one after it
(`bridge.store.registers`). Corrected is a running total that never falls: what all intervals of the load
profile that begin before the time have counted, since the meter's first one. So a reset or a new sensor does
not lower it, and the difference of two is the energy of the intervals between, to the thousandth of a Wh.

The mark is of the interval that ends at the time. ``version`` grows whenever an interval before the time is
computed or corrected: the same version is the same corrected register.

>>> register_table(store, [meter], periods).fields[3:6]  # doctest: +SKIP
('date', 'ts', 'energy_import')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlmodel import col

from bridge.store.every_meter import METER, identity
from bridge.store.export import Table
from bridge.store.intervals import Mark
from bridge.store.pack_format import Counted
from bridge.store.profile_format import Day
from bridge.store.profile_steps import REGISTERS
from bridge.store.profile_table import MARKS, Profiles
from bridge.store.queries import Store
from bridge.store.registers import shown_of
from bridge.store.tables import DAY_MS, Meter, ProfileSum, at_ms
from broker.calendar import Calendar, Period

FIELDS = tuple(
    field for name in REGISTERS for field in (name, f"{name}_mark", f"{name}_raw", f"{name}_raw_at")
)
"""Wh (reactive: varh); ``…_raw_at`` is the time of the reading."""
AT_ONCE = 25
"""Meters that are looked up together."""
_SUMS = (*(func.sum(getattr(ProfileSum, name)) for name in REGISTERS), func.sum(col(ProfileSum.versions)))
_DAY = tuple(getattr(ProfileSum, name) for name in ("start", *REGISTERS, "versions"))


@dataclass(frozen=True)
class Total:
    """The corrected registers of one meter at one time."""

    at: int
    """ms since 1970 UTC."""
    values: dict[str, int | None]
    """Thousandths by register; None: nothing is known of it."""
    marks: dict[str, Mark]
    version: int


class At(NamedTuple):
    """All registers of one meter at one time."""

    total: Total
    raw: dict[str, Counted | None]


def at_times(store: Store, meters: Iterable[Meter], times: Sequence[int]) -> Iterator[tuple[Meter, list[At]]]:
    """Those of each meter at ``times`` (ms, ascending), which are boundaries of intervals."""
    names = tuple(REGISTERS)
    for some in at_once(meters):
        found = totals(store.profiles, some, times)
        raw = [shown_of(store, some, at=at, names=names) for at in times]
        for meter in some:
            key = meter.key or 0
            yield meter, [At(total, one[key]) for total, one in zip(found[key], raw, strict=True)]


def at_once(meters: Iterable[Meter]) -> Iterator[list[Meter]]:
    """Some of them, until all are told: a query for each meter costs more than what it finds."""
    several = iter(meters)
    while some := list(islice(several, AT_ONCE)):
        yield some


def totals(profiles: Profiles, meters: Sequence[Meter], times: Sequence[int]) -> dict[int, list[Total]]:
    """Corrected registers at ``times``, by `Meter.key`."""
    keys = [meter.key or 0 for meter in meters]
    if not times:
        return {key: [] for key in keys}
    first, last = times[0] - times[0] % DAY_MS, times[-1]
    meter, start = col(ProfileSum.meter), col(ProfileSum.start)
    before = select(meter, *_SUMS).where(meter.in_(keys), start < first).group_by(meter)
    since = select(meter, *_DAY).where(meter.in_(keys), start >= first, start < last)
    sums: dict[int, list[tuple[int, list[Any]]]] = {key: [] for key in keys}
    with profiles.engine.connect() as connection:
        for key, *told in connection.execute(before):
            sums[key].append((first - DAY_MS, told))
        for key, at, *told in connection.execute(since):
            sums[key].append((at, told))
    days = profiles.of_days(keys, {at - at % DAY_MS for time in times for at in (time, time - 1)})
    return {
        key: [
            _total(at, [told for begin, told in sums[key] if begin + DAY_MS <= at], days.get(key, {}))
            for at in times
        ]
        for key in keys
    }


def _total(at: int, whole: list[Any], days: dict[int, Day]) -> Total:
    """``whole``: sums of the days before the one in which the time is."""
    begins, ends = days.get(at - at % DAY_MS), days.get((at - 1) - (at - 1) % DAY_MS)
    if begins is not None and at % DAY_MS:
        part = slice(0, len(begins.places(begins.start, at)))
        whole = [*whole, [*(begins.total(name, part) for name in REGISTERS), begins.total("version", part)]]
    nothing = [None] * (len(REGISTERS) + 1)
    *values, version = (_sum(column) for column in zip(nothing, *whole, strict=True))
    marks = dict.fromkeys(REGISTERS, Mark.MISSING)
    if ends is not None:
        place = (at - 1 - ends.start) // ends.span
        found = {name: ends.column(f"{name}_mark")[place] for name in REGISTERS}
        marks |= {name: Mark(mark) for name, mark in found.items() if mark is not None}
    return Total(at, dict(zip(REGISTERS, values, strict=True)), marks, version or 0)


def _sum(column: Iterable[int | None]) -> int | None:
    """None if nothing is known. PostgreSQL adds whole numbers up to a Decimal."""
    values = [int(value) for value in column if value is not None]
    return sum(values) if values else None


def register_table(
    store: Store, meters: Iterable[Meter], periods: Sequence[Period], calendar: Calendar
) -> Table:
    """A row for each meter and boundary of ``periods``, which follow each other, with all registers.

    A retired meter of which nothing is known there is left out.
    """
    times = [at_ms(period.start) for period in periods] + [at_ms(period.end) for period in periods[-1:]]
    dates = [calendar.local(period.start).strftime("%Y-%m-%d") for period in periods]
    dates += [calendar.local(period.end).strftime("%Y-%m-%d") for period in periods[-1:]]
    rows = (row for meter, found in at_times(store, meters, times) for row in _of_meter(meter, dates, found))
    return Table((*METER, "date", "ts", *FIELDS, "version"), rows)


def _of_meter(meter: Meter, dates: Sequence[str], found: Sequence[At]) -> Iterator[tuple[Any, ...]]:
    head, known = identity(meter), not meter.retired_at
    for date, (total, raw) in zip(dates, found, strict=True):
        values: list[Any] = []
        for name, value in total.values.items():
            reading = raw[name]
            told = None if value is None else value / 1000
            mark = None if value is None else MARKS[total.marks[name]]
            values += (told, mark, reading and reading.counter, reading and reading.ts)
        known = known or any(value is not None for value in values)
        if known:
            yield (*head, date, total.at, *values, total.version)


def narrowed(table: Table) -> Table:
    """The same without registers that no row has, but with imported energy; all rows are read."""
    rows = list(table.rows)
    kept = [
        place
        for place, field in enumerate(table.fields)
        if field not in FIELDS or field.startswith("energy_import") or _any(rows, place)
    ]
    return Table(
        tuple(table.fields[place] for place in kept), (tuple(row[place] for place in kept) for row in rows)
    )


def _any(rows: Iterable[tuple[Any, ...]], place: int) -> bool:
    return any(row[place] is not None for row in rows)
