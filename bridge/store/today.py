"""Energy of hours that are not all summed up: what is, and the steps of the counter since.

The roll-ups of the hours count up to the first one that is due (`bridge.store.rollup`: it runs, was not
looked at yet, or had a late reading), and from there on the readings themselves, by the same rule. So it is
what the roll-ups will say when the meter tells nothing more.

>>> energy_used(connection, meter, start=midnight, end=now)  # doctest: +SKIP
Used(wh=1523.0, doubtful=0)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from sqlalchemy import Connection, and_, func, select
from sqlmodel import col

from bridge.store import series
from bridge.store.energy import Step
from bridge.store.neighbours import stretches
from bridge.store.pack_format import counted_of
from bridge.store.rollup import HOUR, total
from bridge.store.tables import HOUR_MS, ROLLUP, Due


@dataclass(frozen=True)
class Used:
    """Energy of some hours."""

    wh: float | None
    """None when no step of the counter counts."""
    doubtful: int
    """Steps that are left out."""


def energy_used(connection: Connection, meter: int, *, start: int, end: int) -> Used:
    """What was used from ``start`` to ``end`` (ms since 1970), both at a full hour of UTC. What is after the
    first hour that is due is read whole: that is some hours, or some days after an outage.

    The connection must see one state of the database throughout (see `bridge.store.database.snapshot`).
    """
    since, ends = _since(connection, meter, start, end)
    hours = and_(
        ROLLUP.c.span == HOUR, ROLLUP.c.meter == meter, ROLLUP.c.start >= start, ROLLUP.c.start < since
    )
    sums = select(func.sum(ROLLUP.c.energy_used), func.sum(ROLLUP.c.energy_doubtful)).where(hours)
    summed, doubtful = connection.execute(sums).one()
    known = [wh for wh in (summed, total(ends)) if wh is not None]
    left_out = int(doubtful or 0) + sum(step.wh is None for step in ends)
    return Used(round(sum(known), 6) if known else None, left_out)


def _since(connection: Connection, meter: int, start: int, end: int) -> tuple[int, list[Step]]:
    """From when on the day's readings count and not its roll-ups, and the steps that end there."""
    since = _summed_until(connection, meter, start, end)
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


def _summed_until(connection: Connection, meter: int, start: int, end: int) -> int:
    """Where the first hour begins that is due; a due hour before the day may change the day's first step."""
    due = and_(col(Due.work) == "hour", col(Due.meter) == meter, col(Due.start) < end)
    first = connection.scalar(select(func.min(col(Due.start))).where(due))
    return end if first is None else max(start, int(first))
