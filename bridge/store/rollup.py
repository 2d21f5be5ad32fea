"""Roll-ups: hours and UTC days of each meter, made from committed readings and kept for ever.

The writer notes the hours that it touches (`bridge.store.tables.Due`) in the transaction that stores the
readings; an hour that is over is summed up from its readings, and its day from its hours. A late
reading makes its hour due again, so it is corrected; summing up twice gives the same.

**Energy used** is the sum of the steps of the meter's counter that end in the hour, as `bridge.store.energy`
judges
them: from each reading's predecessor, the one with the next lower seq of the same epoch, which may lie hours
back. After an outage the whole step falls into the hour in which the meter was heard again. A change of epoch
(another outbox, maybe another sensor) counts as zero. ``energy_doubtful`` counts the steps that are left out;
a new one of the last day is an alarm.
What a reading says of the steps beside it may concern other hours, which are then summed up again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col

from bridge.store import alarms, profiles, series, statistics, supply_format
from bridge.store.alarms import Raised
from bridge.store.energy import Step
from bridge.store.neighbours import stretches
from bridge.store.pack_format import Columns, Counted, counted_of, joined
from bridge.store.profile_steps import Summed
from bridge.store.supply_hour import Nominal
from bridge.store.tables import DAY_MS, HOUR_MS, ROLLUP, Due, moment
from broker.contract.quantities import HOUSEHOLD, QUANTITIES

HOUR = HOUR_MS // 1000
DAY = DAY_MS // 1000

PACKED_HOURS = {"pack1": 1, "pack2": 2, "pack4": 4, "pack8": 8, "pack": 24}
"""Work for `bridge.store.packer` → hours that it packs together, from a multiple of so many hours of the
day."""
GOOD_PACK = 300
"""Readings that make a small pack: fewer are packed over more hours. Less than the 360 of an hour at 10 s,
of which some may be missing."""
AGAIN = "again"
"""Work for hours that somebody wants summed up again: after all others, and some in each round."""
AGAIN_AT_ONCE = 2000
"""Hours: less than a minute of work, so that packing and retention have their turn."""
GRACE_MS = 300_000
"""ms after an hour or day before it is summed up: the clocks of several bridges may differ by this."""


class Summer:
    """Sums up what is due, one hour or day in each step; then some of what was asked for again."""

    def __init__(self, *, now: int, minutes: int = 15, nominal: Nominal | None = None) -> None:
        self._now = now
        self._nominal = nominal or Nominal()
        self._minutes = minutes
        self._again = AGAIN_AT_ONCE
        self.hours = 0
        self.days = 0

    def step(self, connection: Connection) -> bool:
        """Sum up one hour or, after all of them, one day; False when nothing is due in this round."""
        if (due := next_due(connection, "hour", until=self._now - HOUR_MS - GRACE_MS)) is not None:
            self.hours += 1
            self._hour(connection, *due)
        elif (due := next_due(connection, "day", until=self._now - DAY_MS - GRACE_MS)) is not None:
            self.days += 1
            sum_day(connection, *due)
        elif self._again and (due := next_due(connection, AGAIN, until=self._now - HOUR_MS - GRACE_MS)):
            self._again -= 1
            self.hours += 1
            done(connection, AGAIN, *due)
            self._hour(connection, *due)
        return due is not None

    def _hour(self, connection: Connection, meter: int, start: int) -> None:
        sum_hour(connection, meter, start, now=self._now, minutes=self._minutes, nominal=self._nominal)


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


def due_again(connection: Connection, *, start: int, end: int, meter: int | None = None) -> int:
    """Note that the hours of a time (ms) are to be summed up again, also the one it begins in; how many."""
    start -= start % HOUR_MS
    hours = and_(ROLLUP.c.span == HOUR, ROLLUP.c.start >= start, ROLLUP.c.start < end)
    if meter is not None:
        hours = and_(hours, ROLLUP.c.meter == meter)
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    found = select(literal(AGAIN), ROLLUP.c.start, ROLLUP.c.meter).where(hours)
    statement = insert(Due).from_select(["work", "start", "meter"], found)
    connection.execute(statement.on_conflict_do_nothing())
    return connection.scalar(select(func.count()).select_from(ROLLUP).where(hours)) or 0


def done(connection: Connection, work: str, meter: int, start: int) -> None:
    """Strike ``work`` from what is due."""
    connection.execute(
        delete(Due).where(col(Due.work) == work, col(Due.start) == start, col(Due.meter) == meter)
    )


def sum_hour(
    connection: Connection, meter: int, start: int, *, now: int, minutes: int, nominal: Nominal
) -> None:
    """Sum up one hour of a meter, and correct the hours whose energy its readings have a say in."""
    done(connection, "hour", meter, start)
    summed = _sum(connection, meter, start, now=now)
    if summed is None:
        return
    concerned = {_hour_of(reading) for stretch in summed.stretches for reading in stretch.concerned}
    others = [hour for hour in concerned - {start} if _known(connection, HOUR, meter, hour) is not None]
    for hour in others:  # one that is not known is due itself
        _sum(connection, meter, hour, now=now)
    over = now - GRACE_MS
    over -= over % HOUR_MS
    profiles.renew(connection, meter, summed, others, minutes=minutes, now=now, over=over)
    supply_format.renew(connection, meter, summed, nominal=nominal)


def _sum(connection: Connection, meter: int, start: int, *, now: int) -> Summed | None:
    """Write the roll-up of an hour.

    None if it stays as it is: retention has deleted readings that it was made from.
    """
    hour = series.pieces(connection, meter, start=start, end=start + HOUR_MS, rows_at_a_time=None)
    columns = joined(hour)
    readings = sorted(counted_of(columns)) if columns else []  # by epoch and seq
    before = _known(connection, HOUR, meter, start)
    if not readings or len(readings) < (before[0] if before else 0):
        return None
    found = list(stretches(connection, meter, readings))
    ends = [step for stretch in found for step in stretch.steps if _hour_of(step.reading) == start]
    energy = {"energy_used": total(ends), "energy_doubtful": sum(step.wh is None for step in ends)}
    _write(connection, {"span": HOUR, "meter": meter, "start": start, **energy, **summary(columns)})
    more = sum(step.wh is None for step in ends) - (before[1] if before else 0)
    if more > 0 and now - DAY_MS <= start <= now:
        detail = f"steps left out of the energy of the hour from {moment(start):%Y-%m-%d %H:%M} UTC: {more}"
        alarms.note(connection, [(meter, Raised("", "counter-doubtful", detail, more))], now=now)
    day = start - start % DAY_MS
    note_due(connection, "day", meter, day)
    work, hours = fitting(len(readings))
    note_due(connection, work, meter, start - start % (hours * HOUR_MS))
    return Summed(start, columns, found)


def _hour_of(reading: Counted) -> int:
    return reading.ts - reading.ts % HOUR_MS


def fitting(per_hour: int) -> tuple[str, int]:
    """The work that packs so many readings an hour well, and its hours; the day's for very few.

    >>> fitting(360), fitting(60), fitting(4)
    (('pack1', 1), ('pack8', 8), ('pack', 24))
    """
    good = (entry for entry in PACKED_HOURS.items() if per_hour * entry[1] >= GOOD_PACK)
    return next(good, ("pack", 24))


def summary(columns: Columns) -> dict[str, Any]:
    """Number of readings, and count, min, max and mean of each quantity."""
    quantities = {name: values for name, values in columns.items() if name in QUANTITIES}
    return {"readings": len(columns["ts"]), **statistics.of_columns(quantities)}


def total(steps: Iterable[Step]) -> float | None:
    """Wh of the steps that count; None without one."""
    known = [step.wh for step in steps if step.wh is not None]
    return round(sum(known), 6) if known else None  # 0.1 + 0.2 Wh is 0.3 Wh


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
    more = select(ROLLUP.c.more).where(hours, ROLLUP.c.more.is_not(None))
    row["more"] = statistics.together(connection.scalars(more))
    if row["energy_used"] is not None:
        row["energy_used"] = round(row["energy_used"], 6)
    _write(connection, {"span": DAY, "meter": meter, "start": start, **row})


def _day_columns() -> Iterator[ColumnElement[Any]]:
    columns = ROLLUP.c
    for name in ("readings", "energy_used", "energy_doubtful"):
        yield func.sum(columns[name]).label(name)
    for name in HOUSEHOLD:
        count, mean = columns[f"{name}_count"], columns[f"{name}_mean"]
        yield func.sum(count).label(count.name)
        yield func.min(columns[f"{name}_min"]).label(f"{name}_min")
        yield func.max(columns[f"{name}_max"]).label(f"{name}_max")
        yield (func.sum(count * mean) / func.nullif(func.sum(count), 0)).label(mean.name)


def _known(connection: Connection, span: int, meter: int, start: int) -> tuple[int, int] | None:
    """Readings and doubtful steps of a roll-up; None when there is no such roll-up."""
    key = and_(ROLLUP.c.span == span, ROLLUP.c.meter == meter, ROLLUP.c.start == start)
    row = connection.execute(select(ROLLUP.c.readings, ROLLUP.c.energy_doubtful).where(key)).first()
    return None if row is None else (row.readings, row.energy_doubtful or 0)


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
