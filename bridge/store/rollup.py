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

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    select,
)
from sqlmodel import col

from bridge.store import alarms, profiles, series, statistics, supply_format
from bridge.store.alarms import Raised
from bridge.store.deleted import final
from bridge.store.due import AGAIN, done, next_due, note_due
from bridge.store.energy import Step
from bridge.store.neighbours import stretches_of
from bridge.store.pack_format import Columns, Counted, joined
from bridge.store.profile_steps import Summed
from bridge.store.supply_hour import Nominal
from bridge.store.tables import DAY_MS, HOUR_MS, ROLLUP, Due, moment
from bridge.store.upsert import upsert_into
from broker.contract.quantities import HOUSEHOLD, QUANTITIES

HOUR = HOUR_MS // 1000
DAY = DAY_MS // 1000

PACKED_HOURS = {"pack1": 1, "pack2": 2, "pack4": 4, "pack8": 8, "pack": 24}
"""Work for `bridge.store.packer` → hours that it packs together, from a multiple of so many hours of the
day."""
GOOD_PACK = 300
"""Readings that make a small pack: fewer are packed over more hours. Less than the 360 of an hour at 10 s,
of which some may be missing."""
AGAIN_AT_ONCE = 48_000
"""Hours, days of 2,000 meters: minutes of work, so that packing and retention have their turn."""
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
        """Sum up one hour or, after all of them, one day; False when nothing is due in this round.

        Hours that were asked for again are those of a meter and day together.
        """
        over = self._now - HOUR_MS - GRACE_MS
        if (due := next_due(connection, "hour", until=over)) is not None:
            self.hours += 1
            self._hour(connection, *due)
        elif (due := next_due(connection, "day", until=self._now - DAY_MS - GRACE_MS)) is not None:
            self.days += 1
            sum_day(connection, *due)
        elif self._again > 0 and (due := next_due(connection, AGAIN, until=over)) is not None:
            hours = sum_again(connection, *due, now=self._now, minutes=self._minutes, nominal=self._nominal)
            self._again -= hours
            self.hours += hours
        return due is not None

    def _hour(self, connection: Connection, meter: int, start: int) -> None:
        sum_hour(connection, meter, start, now=self._now, minutes=self._minutes, nominal=self._nominal)


def sum_hour(
    connection: Connection, meter: int, start: int, *, now: int, minutes: int, nominal: Nominal
) -> None:
    """Sum up one hour of a meter, and correct the hours whose energy its readings have a say in."""
    done(connection, "hour", meter, start)
    summed, hours = _sum(connection, meter, [start], now=now)
    if not hours:
        return
    work, together = fitting(len(summed.columns["ts"]))
    note_due(connection, work, meter, start - start % (together * HOUR_MS))
    concerned = {_hour_of(reading) for stretch in summed.stretches for reading in stretch.concerned}
    others = [hour for hour in concerned - {start} if _known(connection, meter, hour, hour + HOUR_MS)]
    for hour in others:  # one that is not known is due itself
        _sum(connection, meter, [hour], now=now)
    profiles.renew(connection, meter, summed, [start, *others], minutes=minutes, now=now, over=_over(now))
    supply_format.renew(connection, meter, summed, hours, nominal=nominal)


def sum_again(
    connection: Connection, meter: int, start: int, *, now: int, minutes: int, nominal: Nominal
) -> int:
    """Sum up the hours of a meter that were asked for again, from ``start`` on in its day; how many."""
    end = min(start - start % DAY_MS + DAY_MS, _over(now))
    mine = (col(Due.work) == AGAIN, col(Due.meter) == meter, col(Due.start) >= start, col(Due.start) < end)
    found = list(connection.scalars(select(col(Due.start)).where(*mine).order_by(col(Due.start))))
    connection.execute(delete(Due).where(*mine))
    summed, hours = _sum(connection, meter, found, now=now)
    if hours:
        profiles.renew(connection, meter, summed, hours, minutes=minutes, now=now, over=_over(now))
        supply_format.renew(connection, meter, summed, hours, nominal=nominal)
    return len(found)


def _over(now: int) -> int:
    """The hours before this are over."""
    return now - GRACE_MS - (now - GRACE_MS) % HOUR_MS


def _sum(connection: Connection, meter: int, hours: Sequence[int], *, now: int) -> tuple[Summed, list[int]]:
    """Write the roll-ups of these hours, which are of one day and by time.

    Those of which it did. One stays as it is if retention has deleted readings that it was made from.
    """
    begin, end = hours[0], hours[-1] + HOUR_MS
    columns = joined(series.pieces(connection, meter, start=begin, end=end, rows_at_a_time=None))
    found = list(stretches_of(connection, meter, columns)) if columns else []
    known = _known(connection, meter, begin, end)
    stay = final(connection, meter, known.keys() & {*hours}, found)
    ends: dict[int, list[Step]] = {hour: [] for hour in hours}
    for step in (step for stretch in found for step in stretch.steps):
        if (hour := _hour_of(step.reading)) in ends:
            ends[hour].append(step)
    rows: list[dict[str, Any]] = []
    for hour in hours:
        of_hour = series.cut(columns, hour, hour + HOUR_MS) if columns else {}
        readings, doubtful = known.get(hour, (0, 0))
        count = len(of_hour.get("ts", ()))
        if not count or count < readings or hour in stay:
            continue
        left_out = sum(step.wh is None for step in ends[hour])
        energy = {"energy_used": total(ends[hour]), "energy_doubtful": left_out}
        rows.append({"span": HOUR, "meter": meter, "start": hour, **energy, **summary(of_hour)})
        _warn(connection, meter, hour, left_out - doubtful, now=now)
    if rows:
        _write(connection, rows)
        note_due(connection, "day", meter, begin - begin % DAY_MS)
    return Summed(begin, end, columns, found), [row["start"] for row in rows]


def _warn(connection: Connection, meter: int, start: int, more: int, *, now: int) -> None:
    """Raise an alarm if an hour of the last day has ``more`` doubtful steps than before."""
    if more > 0 and now - DAY_MS <= start <= now:
        detail = f"steps left out of the energy of the hour from {moment(start):%Y-%m-%d %H:%M} UTC: {more}"
        alarms.note(connection, [(meter, Raised("", "counter-doubtful", detail, more))], now=now)


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
    quantities = {name: columns[name] for name in QUANTITIES if name in columns}
    return {"readings": len(columns["ts"]), **statistics.of_columns(quantities)}


def total(steps: Iterable[Step]) -> float | None:
    """Wh of the steps that count; None without one."""
    known = [step.wh for step in steps if step.wh is not None]
    return round(sum(known), 6) if known else None  # 0.1 + 0.2 Wh is 0.3 Wh


def sum_day(connection: Connection, meter: int, start: int) -> None:
    """Sum up one UTC day of a meter from its hours."""
    done(connection, "day", meter, start)
    hours = {"of": meter, "begin": start, "end": start + DAY_MS}
    of_day, more = _of_day()
    row = connection.execute(of_day, hours).one()._asdict()
    row["more"] = statistics.together(connection.scalars(more, hours))
    if row["energy_used"] is not None:
        row["energy_used"] = round(row["energy_used"], 6)
    _write(connection, [{"span": DAY, "meter": meter, "start": start, **row}])


@lru_cache
def _of_day() -> tuple[Select[Any], Select[Any]]:
    return (
        select(*_day_columns()).where(_HOURS),
        select(ROLLUP.c.more).where(_HOURS, ROLLUP.c.more.is_not(None)),
    )


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


_HOURS = and_(
    ROLLUP.c.span == HOUR,
    ROLLUP.c.meter == bindparam("of"),
    ROLLUP.c.start >= bindparam("begin", type_=BigInteger),
    ROLLUP.c.start < bindparam("end", type_=BigInteger),
)
_KNOWN = select(ROLLUP.c.start, ROLLUP.c.readings, ROLLUP.c.energy_doubtful).where(_HOURS)


def _known(connection: Connection, meter: int, begin: int, end: int) -> dict[int, tuple[int, int]]:
    """Readings and doubtful steps of the roll-ups of hours that there are."""
    rows = connection.execute(_KNOWN, {"of": meter, "begin": begin, "end": end})
    return {start: (readings, doubtful or 0) for start, readings, doubtful in rows}


def _write(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(upsert_into(connection.dialect.name, ROLLUP), rows)
