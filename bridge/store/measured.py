"""Which quantities a meter has: what its birth says, and what is stored of it. Others are not shown.

>>> measured(Meter(quantities="power,voltage,made_up"))
('voltage', 'power')
>>> measured(Meter(quantities="")) == HOUSEHOLD
True
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
from sqlalchemy import Connection, func, select
from sqlmodel import col

from bridge.store import series
from bridge.store.pack_format import names_in
from bridge.store.present import exactly
from bridge.store.tables import ROLLUP, Meter, Pack
from broker.contract.quantities import HOUSEHOLD, QUANTITIES


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the table of quantities, in its order."""
    found = {*names}
    return tuple(name for name in QUANTITIES if name in found)


def shown_fields(names: Iterable[str]) -> tuple[str, ...]:
    """The fields of a reading with these quantities, as people see them; what is no quantity is ignored.

    >>> shown_fields({"ts", "power"})
    ('ts', 'epoch', 'seq', 'power', 'alarm', 'other', 'clock_synchronized')
    """
    return ("ts", "epoch", "seq", *in_order(names), "alarm", "other", "clock_synchronized")


def measured(meter: Meter) -> tuple[str, ...]:
    """What the birth of ``meter`` says; without one, or of old firmware, what a plain meter measures."""
    return in_order(meter.quantities.split(",")) or HOUSEHOLD


def with_readings(
    connection: Connection, meter: Meter, *, start: int | None, end: int | None = None
) -> tuple[str, ...]:
    """The same, and what readings with start <= ts < end (ms) have; no reading is made for it."""
    assert meter.key is not None
    found = {*measured(meter), *exactly(connection, meter.key, start=start, end=end)}
    packs = select(col(Pack.data)).where(
        col(Pack.meter) == meter.key, series.within(start, end, first=Pack.first_ts, last=Pack.last_ts)
    )
    for data in connection.scalars(packs, execution_options={"yield_per": 10}):
        found.update(names_in(data))
    return in_order(found)


def with_rollups(connection: Connection, meter: Meter, which: Any) -> tuple[str, ...]:
    """The same, and what the roll-ups have that meet ``which``."""
    found = {*measured(meter)}
    counts = connection.execute(
        select(*(func.sum(ROLLUP.c[f"{name}_count"]) for name in HOUSEHOLD)).where(which)
    ).one()
    found |= {name for name, count in zip(HOUSEHOLD, counts, strict=True) if count}
    more = select(ROLLUP.c.more).where(which, ROLLUP.c.more.is_not(None))
    for told in connection.scalars(more, execution_options={"yield_per": 1000}):
        found |= orjson.loads(told).keys()
    return in_order(found)
