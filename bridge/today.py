"""Energy of a UTC day that is not over: what is summed up, and the steps of the counter since.

The roll-ups of the hours count up to the first one that is due (`bridge.rollup`: it runs, was not looked at
yet, or had a late reading), and from there on the readings themselves, by the same rule. So it is what the
day's roll-up will say when the meter tells nothing more.

>>> energy_used(connection, meter, start=day)  # doctest: +SKIP
1523.0
"""

from __future__ import annotations

from itertools import starmap
from operator import attrgetter

from sqlalchemy import Connection, and_, func, select
from sqlmodel import col

from bridge import stored
from bridge.rollup import HOUR, step, steps
from bridge.tables import DAY_MS, ROLLUP, Due


def energy_used(connection: Connection, meter: int, *, start: int) -> float | None:
    """Wh used in the day that began at ``start`` (ms since 1970); None when its counter told no step.

    The connection must see one state of the database throughout (see `bridge.database.snapshot`).
    """
    since = _summed_until(connection, meter, start)
    hours = and_(
        ROLLUP.c.span == HOUR, ROLLUP.c.meter == meter, ROLLUP.c.start >= start, ROLLUP.c.start < since
    )
    summed = connection.scalar(select(func.sum(ROLLUP.c.energy_used)).where(hours))
    end = start + DAY_MS
    readings = sorted(stored.between(connection, meter, start=since, end=end), key=attrgetter("epoch", "seq"))
    ends = (pair for pair in steps(connection, meter, readings) if since <= pair[1].ts < end)
    known = [*([] if summed is None else [summed]), *starmap(step, ends)]
    return round(sum(known), 6) if known else None


def _summed_until(connection: Connection, meter: int, start: int) -> int:
    """Where the first hour begins that is due; a due hour before the day may change the day's first step."""
    end = start + DAY_MS
    due = and_(col(Due.work) == "hour", col(Due.meter) == meter, col(Due.start) < end)
    first = connection.scalar(select(func.min(col(Due.start))).where(due))
    return end if first is None else max(start, int(first))
