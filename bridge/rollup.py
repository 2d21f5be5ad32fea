"""Roll-ups: hours and UTC days of each meter, made from committed readings and kept for ever.

The writer notes the hours that it touches (`bridge.tables.Due`) in the transaction that stores the
readings; an hour that is over is summed up from its readings, and its day from its hours. A late
reading makes its hour due again, so it is corrected; summing up twice gives the same.

**Energy used** is the sum of the steps of the meter's counter that end in the hour: from each
reading's predecessor, the one with the next lower seq of the same epoch, which may lie hours back.
After an outage the whole step falls into the hour in which the meter was heard again. A step down
(the counter was reset) and a change of epoch (another outbox, maybe another sensor) count as zero:
nothing is invented. So the hours add up to exactly what the counter counted.

>>> read = [packs.StoredReading(1, seq, 0, None, None, None, None, None, wh, None)
...         for seq, wh in [(1, 100.0), (2, 101.5), (3, 0.0), (4, 2.0)]]
>>> energy_used(read, {1: 99.0})
4.5
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col

from bridge import packs
from bridge.packs import StoredReading
from bridge.tables import DAY_MS, HOUR_MS, ROLLUP, Due
from broker.messages import QUANTITIES

HOUR = HOUR_MS // 1000
DAY = DAY_MS // 1000

GRACE_MS = 300_000
"""ms after an hour before it is summed up: the clocks of several bridges may differ by this."""


class Summer:
    """Sums up what is due, one hour or day in each step."""

    def __init__(self, *, now: int) -> None:
        self._now = now
        self.hours = 0
        self.days = 0

    def step(self, connection: Connection) -> bool:
        """Sum up one hour or, after all of them, one day; False when nothing is due."""
        if (due := next_due(connection, "hour", until=self._now - HOUR_MS - GRACE_MS)) is not None:
            self.hours += 1
            sum_hour(connection, *due)
        elif (due := next_due(connection, "day", until=self._now)) is not None:
            self.days += 1
            sum_day(connection, *due)
        return due is not None


def next_due(connection: Connection, work: str, *, until: int, after: int = -1) -> tuple[int, int] | None:
    """The earliest (meter, start) that is due, with after < start <= until."""
    row = connection.execute(
        select(col(Due.meter), col(Due.start))
        .where(col(Due.work) == work, col(Due.start) > after, col(Due.start) <= until)
        .order_by(col(Due.start), col(Due.meter))
        .limit(1)
    ).first()
    return (row.meter, row.start) if row is not None else None


def note_due(connection: Connection, work: str, meter: int, start: int) -> None:
    """Note ``work`` for upkeep."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(Due).on_conflict_do_nothing(), {"work": work, "start": start, "meter": meter})


def done(connection: Connection, work: str, meter: int, start: int) -> None:
    """Strike ``work`` from what is due."""
    connection.execute(
        delete(Due).where(col(Due.work) == work, col(Due.start) == start, col(Due.meter) == meter)
    )


def sum_hour(connection: Connection, meter: int, start: int) -> None:
    """Sum up one hour of a meter, and correct the hours whose first step began in it."""
    done(connection, "hour", meter, start)
    following = _sum(connection, meter, start)
    for hour in following - {start}:
        if _count(connection, HOUR, meter, hour) is not None:  # else it is due itself
            _sum(connection, meter, hour)


def _sum(connection: Connection, meter: int, start: int) -> set[int]:
    """Write the roll-up of an hour; the hours of the readings that come next after its own."""
    readings = list(packs.between(connection, meter, start=start, end=start + HOUR_MS))
    if not readings or len(readings) < (_count(connection, HOUR, meter, start) or 0):
        return set()  # retention has deleted them: the roll-up that was made from all of them stays
    readings.sort(key=attrgetter("epoch", "seq"))
    used, following = _energy(connection, meter, readings)
    _write(
        connection, {"span": HOUR, "meter": meter, "start": start, "energy_used": used, **summary(readings)}
    )
    day = start - start % DAY_MS
    note_due(connection, "day", meter, day)
    note_due(connection, "pack", meter, day)
    return following


def summary(readings: Sequence[StoredReading]) -> dict[str, Any]:
    """Number of readings, and count, min, max and mean of each quantity."""
    result: dict[str, Any] = {"readings": len(readings)}
    for name in QUANTITIES:
        values = [value for value in map(attrgetter(name), readings) if value is not None]
        result[f"{name}_count"] = len(values)
        result[f"{name}_min"] = min(values, default=None)
        result[f"{name}_max"] = max(values, default=None)
        result[f"{name}_mean"] = sum(values) / len(values) if values else None
    return result


def _energy(
    connection: Connection, meter: int, readings: Sequence[StoredReading]
) -> tuple[float | None, set[int]]:
    """Wh used in readings of an hour, by epoch and seq; and the hours of the readings that follow them."""
    counted = [reading for reading in readings if reading.energy is not None]
    following: set[int] = set()
    used: float | None = None
    for run in _runs(counted):
        epoch = run[0].epoch
        earlier = packs.neighbour(connection, meter, epoch, before=run[0].seq)
        if (later := packs.neighbour(connection, meter, epoch, after=run[-1].seq)) is not None:
            following.add(later.ts - later.ts % HOUR_MS)
        if earlier is not None or len(run) > 1:
            before = {epoch: earlier.energy} if earlier is not None and earlier.energy is not None else {}
            used = (used or 0.0) + energy_used(run, before)
    return used, following


def _runs(readings: Sequence[StoredReading]) -> Iterator[list[StoredReading]]:
    """``readings`` in pieces without a hole in seq: in a hole may be a reading of another hour."""
    places = enumerate(readings)
    for _, run in groupby(places, key=lambda place: (place[1].epoch, place[1].seq - place[0])):
        yield [reading for _, reading in run]


def energy_used(readings: Sequence[StoredReading], before: Mapping[int, float]) -> float:
    """Wh counted up over readings by epoch and seq; ``before`` them the counter stood there, by epoch."""
    used, last = 0.0, dict(before)
    for reading in readings:
        if reading.energy is None:
            continue
        used += max(0.0, reading.energy - last.get(reading.epoch, reading.energy))
        last[reading.epoch] = reading.energy
    return round(used, 6)  # 0.1 + 0.2 Wh is 0.3 Wh


def sum_day(connection: Connection, meter: int, start: int) -> None:
    """Sum up one UTC day of a meter from its hours."""
    done(connection, "day", meter, start)
    hours = and_(
        ROLLUP.c.span == HOUR,
        ROLLUP.c.meter == meter,
        ROLLUP.c.start >= start,
        ROLLUP.c.start < start + DAY_MS,
    )
    row = connection.execute(select(*_day_columns()).where(hours)).one()._asdict()
    if row["energy_used"] is not None:
        row["energy_used"] = round(row["energy_used"], 6)
    _write(connection, {"span": DAY, "meter": meter, "start": start, **row})


def _day_columns() -> Iterator[ColumnElement[Any]]:
    columns = ROLLUP.c
    for name in ("readings", "energy_used"):
        yield func.sum(columns[name]).label(name)
    for name in QUANTITIES:
        count, mean = columns[f"{name}_count"], columns[f"{name}_mean"]
        yield func.sum(count).label(count.name)
        yield func.min(columns[f"{name}_min"]).label(f"{name}_min")
        yield func.max(columns[f"{name}_max"]).label(f"{name}_max")
        yield (func.sum(count * mean) / func.nullif(func.sum(count), 0)).label(mean.name)


def _count(connection: Connection, span: int, meter: int, start: int) -> int | None:
    """Readings of a roll-up; None when there is no such roll-up."""
    key = and_(ROLLUP.c.span == span, ROLLUP.c.meter == meter, ROLLUP.c.start == start)
    return connection.scalar(select(ROLLUP.c.readings).where(key))


def _write(connection: Connection, values: dict[str, Any]) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(ROLLUP)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["span", "meter", "start"],
            set_={column.name: column for column in statement.excluded if not column.primary_key},
        ),
        values,
    )
