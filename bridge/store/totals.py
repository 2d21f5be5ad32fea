"""Energy and power of all meters together, or of some, hour by hour, from the roll-ups.

>>> together(connection, start=yesterday, end=now)  # doctest: +SKIP
[Hour(start=1795392000000, energy_used=4310.0, power=4311.7, meters=10), …]
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, select
from sqlmodel import col

from bridge.store.rollup import HOUR
from bridge.store.tables import ROLLUP, Meter


class Hour(NamedTuple):
    """Sums of an hour."""

    start: int
    """ms since 1970."""
    energy_used: float
    """Wh."""
    power: float | None
    """W, of the meters' means; None: no meter has told any."""
    meters: int
    """Of how many these are."""


def together(
    connection: Connection, *, start: int, end: int, numbers: Collection[int] | None = None
) -> list[Hour]:
    """Hours with start <= begin < end (ms) that are summed up, of all meters, or of those with ``numbers``.

    The key of a roll-up begins with its meter: so it is read meter by meter, and not over all time.
    """
    rolled = and_(
        ROLLUP.c.span == HOUR,
        ROLLUP.c.meter == col(Meter.key),
        ROLLUP.c.start >= start,
        ROLLUP.c.start < end,
    )
    used, power = func.coalesce(func.sum(ROLLUP.c.energy_used), 0.0), func.sum(ROLLUP.c.power_mean)
    wanted = (
        select(ROLLUP.c.start, used, power, func.count())
        .select_from(Meter)
        .join(ROLLUP, rolled)
        .group_by(ROLLUP.c.start)
        .order_by(ROLLUP.c.start)
    )
    if numbers is not None:
        wanted = wanted.where(col(Meter.number).in_(numbers))
    return [
        Hour(begin, round(float(wh), 3), None if watts is None else round(float(watts), 3), count)
        for begin, wh, watts, count in connection.execute(wanted)
    ]
