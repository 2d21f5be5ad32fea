"""Energy of a UTC day that is not over: what is summed up, and the steps of the counter since.

The roll-ups of the hours count up to the first one that is due (`bridge.store.rollup`: it runs, was not
looked at
yet, or had a late reading), and from there on the readings themselves, by the same rule. So it is what the
day's roll-up will say when the meter tells nothing more.

>>> energy_used(connection, meter, start=day)  # doctest: +SKIP
1523.0
"""

from __future__ import annotations

from itertools import chain

from sqlalchemy import Connection, and_, func, select
from sqlmodel import col

from bridge.store import series
from bridge.store.energy import Step
from bridge.store.pack_format import counted_of
from bridge.store.rollup import HOUR, stretches, total
from bridge.store.tables import DAY_MS, HOUR_MS, ROLLUP, Due


def energy_used(connection: Connection, meter: int, *, start: int) -> float | None:
    """Wh used in the day that began at ``start`` (ms since 1970); None when no step of its counter counts.

    The connection must see one state of the database throughout (see `bridge.store.database.snapshot`).
    """
    since, ends = _since(connection, meter, start)
    hours = and_(
        ROLLUP.c.span == HOUR, ROLLUP.c.meter == meter, ROLLUP.c.start >= start, ROLLUP.c.start < since
    )
    summed = connection.scalar(select(func.sum(ROLLUP.c.energy_used)).where(hours))
    known = [wh for wh in (summed, total(ends)) if wh is not None]
    return round(sum(known), 6) if known else None


def _since(connection: Connection, meter: int, start: int) -> tuple[int, list[Step]]:
    """From when on the day's readings count and not its roll-ups, and the steps that end there."""
    since, end = _summed_until(connection, meter, start), start + DAY_MS
    while True:
        pieces = series.pieces(connection, meter, start=since, end=end)
        readings = sorted(chain.from_iterable(map(counted_of, pieces)))  # by epoch and seq
        found = list(stretches(connection, meter, readings))
        opened = (stretch.is_open.ts for stretch in found if stretch.is_open is not None)
        earlier = min((ts - ts % HOUR_MS for ts in opened if start <= ts < since), default=since)
        if earlier == since:
            steps = (step for stretch in found for step in stretch.steps)
            return since, [step for step in steps if since <= step.reading.ts < end]
        since = earlier  # a reading that was doubtful when its hour was summed up, and may be no longer


def _summed_until(connection: Connection, meter: int, start: int) -> int:
    """Where the first hour begins that is due; a due hour before the day may change the day's first step."""
    end = start + DAY_MS
    due = and_(col(Due.work) == "hour", col(Due.meter) == meter, col(Due.start) < end)
    first = connection.scalar(select(func.min(col(Due.start))).where(due))
    return end if first is None else max(start, int(first))
