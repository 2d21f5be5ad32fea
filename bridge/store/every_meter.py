"""Readings or roll-ups of many meters as one table, or as a folder of Parquet files by month and meter.

Each row begins with the meter. Columns are those that any of the meters has, in the order of a single
meter's table. Rows are read meter by meter, as they are written: memory does not grow with their number.

>>> together([(house, store.rollups(house, DAY))]).fields[:4]  # doctest: +SKIP
('meter_id', 'name', 'address_code', 'start')
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from bridge.store.export import TIMES, Table, write_parquet
from bridge.store.measured import shown_fields
from bridge.store.statistics import HEAD
from bridge.store.tables import STATISTICS, Meter, at_ms, moment
from broker.calendar import Calendar
from broker.contract.quantities import QUANTITIES

METER = ("meter_id", "name", "address_code")
"""The first columns."""
_ORDER = (*shown_fields(QUANTITIES), *HEAD, *(f"{name}_{what}" for name in QUANTITIES for what in STATISTICS))

OfMeter = tuple[Meter, Table]
"""A meter and its own table, whose rows are not read yet."""


def together(
    tables: Sequence[OfMeter], *, through: Callable[[Iterable[OfMeter]], Iterable[OfMeter]] = iter
) -> Table:
    """One table of all, meter by meter; ``through`` sees which meter is read (for a progress bar)."""
    fields = _fields(tables)
    return Table((*METER, *fields), _rows(through(tables), fields))


def _fields(tables: Iterable[OfMeter]) -> tuple[str, ...]:
    found = {field for _, table in tables for field in table.fields}
    return tuple(field for field in _ORDER if field in found)


def _rows(tables: Iterable[OfMeter], fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for meter, table in tables:
        head = identity(meter)
        yield from ((*head, *row) for row in _widened(table, fields))


def identity(meter: Meter) -> tuple[str, ...]:
    """The columns of `METER`."""
    return tuple(getattr(meter, name) for name in METER)


def _widened(table: Table, fields: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows with all of ``fields``; what the meter does not have is absent."""
    if tuple(fields) == table.fields:
        return table.rows
    own = {field: place for place, field in enumerate(table.fields)}
    chosen = itemgetter(*(own.get(field, -1) for field in fields))
    return (chosen((*row, None)) for row in table.rows)


def write_partitioned(
    tables: Sequence[OfMeter],
    folder: Path,
    calendar: Calendar,
    *,
    through: Callable[[Iterable[OfMeter]], Iterable[OfMeter]] = iter,
) -> int:
    """Write ``folder/month=2026-11/meter_id=…/readings.parquet``; the number of rows.

    Months are those of ``calendar``. A file that is there already is replaced, others stay. Every file has
    the same columns; the meter_id is in the name of the folder alone, as readers of such folders expect.
    """
    fields = _fields(tables)
    count = 0
    for meter, table in through(tables):
        _, *named = identity(meter)
        whole = Table(tuple(fields), _widened(table, fields))
        for month, rows in _by_month(whole, calendar):
            place = folder / f"month={month}" / f"meter_id={meter.meter_id}"
            place.mkdir(parents=True, exist_ok=True)
            some = ((*named, *row) for row in rows)
            count += write_parquet(Table((*METER[1:], *fields), some), place / "readings.parquet")
    return count


def _by_month(table: Table, calendar: Calendar) -> Iterator[tuple[str, Iterator[tuple[Any, ...]]]]:
    """Rows of each local month; they are in the order of time."""
    time = next(place for place, field in enumerate(table.fields) if field in TIMES)
    months = _Months(calendar)
    return groupby(table.rows, key=lambda row: months.of(row[time]))


class _Months:
    """The local month of a time; the one before is looked at first, because rows are in the order of time."""

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._name, self._start, self._end = "", 0, 0

    def of(self, ms: int) -> str:
        """Such as ``2026-11``."""
        if not self._start <= ms < self._end:
            self._name = self._calendar.local(moment(ms)).strftime("%Y-%m")
            self._start, self._end = map(at_ms, self._calendar.month(self._name))
        return self._name
