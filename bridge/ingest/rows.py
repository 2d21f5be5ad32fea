"""A reading on its way into the database: with the quantities that it has, and no place for the others.

So what a reading costs follows from what its meter measures, not from the length of the table of quantities.

>>> row = (7, 1, 2, 1795435200250, 21.3, None, None, True, ("power",))
>>> reading_of(row).power, reading_of(row).voltage, row_of(7, reading_of(row)) == row
(21.3, None, True)
"""

from __future__ import annotations

from typing import Any

from bridge.store.pack_format import NOTHING, StoredReading
from broker.contract.quantities import QUANTITIES

Row = tuple[Any, ...]
"""meter (its key, or its meter_id before it has one), epoch, seq, ts in ms; the quantities that it tells of;
alarm, other numbers as a JSON object (None without any), whether the meter knew the time; names of the
quantities."""

FIRST = 4
"""Place of the first value."""
OTHER = -3
"""Place of the other numbers."""
KNOWN_TIME = -2
"""Place of whether the meter knew the time."""
NAMES = -1
"""Place of the names of the quantities."""


def reading_of(row: Row) -> StoredReading:
    """The reading as it is in the database."""
    alarm, other, known_time, names = row[-4:]
    values = dict(zip(names, row[FIRST:], strict=False))
    _meter, epoch, seq, ts = row[:FIRST]
    told = {"alarm": alarm, "other": other, "clock_synchronized": known_time}
    reading: StoredReading = NOTHING._replace(epoch=epoch, seq=seq, ts=ts, **values, **told)
    return reading


def row_of(meter: int | str, reading: StoredReading) -> Row:
    """The row of a reading of ``meter``."""
    names = tuple(name for name in QUANTITIES if getattr(reading, name) is not None)
    values = (getattr(reading, name) for name in names)
    told = (reading.alarm, reading.other, reading.clock_synchronized)
    return (meter, reading.epoch, reading.seq, reading.ts, *values, *told, names)


def widened(row: Row, names: tuple[str, ...]) -> Row:
    """The same with a place for each of ``names``, among which are all that it has."""
    value = dict(zip(row[NAMES], row[FIRST:], strict=False)).get
    return (*row[:FIRST], *map(value, names), *row[-4:NAMES], names)
