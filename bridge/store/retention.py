"""Retention: readings older than asked for are deleted, rows and packs; roll-ups stay for ever.

Only whole hours go, and only after they were summed up; a pack goes when the youngest of its
readings is old enough. A step deletes what it can of one meter, at most 1,000 rows and 1,000 packs.

>>> cutoff(10 * HOUR_MS + 1800_000, timedelta(hours=2)) // HOUR_MS
8
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, tuple_
from sqlmodel import col

from bridge.store.deleted import note_deleted
from bridge.store.tables import HOUR_MS, ROLLUP, Due, Meter, Pack, Reading

_AT_ONCE = 1000

PROOF = timedelta(days=15), timedelta(days=30)
"""A clock that NTP does not keep is believed when there are readings of so long ago, by the same clock: one
that has leapt ahead has only those of before, and of since."""


def cutoff(now: int, keep: timedelta) -> int:
    """Readings before this (ms since 1970) are older than ``keep``; the start of an hour."""
    limit = now - keep // timedelta(milliseconds=1)
    return limit - limit % HOUR_MS


def leapt(connection: Connection, *, now: int, keep: timedelta) -> bool:
    """Whether the clock that says ``now`` may have leapt: nothing was summed up in the time of PROOF."""
    youngest, oldest = (now - ago // timedelta(milliseconds=1) for ago in (min(PROOF[0], keep), PROOF[1]))
    hours = exists().where(
        ROLLUP.c.span == HOUR_MS // 1000,
        ROLLUP.c.meter == Meter.key,
        ROLLUP.c.start.between(oldest, youngest),
    )
    return connection.scalar(select(col(Meter.key)).where(hours).limit(1)) is None


class Purge:
    """Deletes what is older than ``before``, some of one meter in each step."""

    def __init__(self, *, before: int) -> None:
        self._before = before
        self._meter = -1
        self._again = False
        self.rows = 0
        self.packs = 0

    def step(self, connection: Connection) -> bool:
        """Delete some readings of one meter; False when all meters were seen."""
        if not self._again:
            following = select(func.min(Meter.key)).where(col(Meter.key) > self._meter)
            if (meter := connection.scalar(following)) is None:
                return False
            self._meter = meter
        before = self._safe(connection)
        rows = _delete(
            connection,
            Reading,
            (col(Reading.meter), col(Reading.epoch), col(Reading.seq)),
            (col(Reading.meter) == self._meter, col(Reading.ts) < before),
        )
        packs = _delete(
            connection,
            Pack,
            (col(Pack.meter), col(Pack.epoch), col(Pack.seq)),
            (col(Pack.meter) == self._meter, col(Pack.last_ts) < before),
        )
        if rows or packs:
            note_deleted(connection, self._before)
        self.rows, self.packs = self.rows + rows, self.packs + packs
        self._again = _AT_ONCE in (rows, packs)
        return True

    def _safe(self, connection: Connection) -> int:
        """Everything of the meter before this is summed up, and old enough."""
        due = select(func.min(Due.start)).where(col(Due.work) == "hour", col(Due.meter) == self._meter)
        first = connection.scalar(due.where(col(Due.start) < self._before))
        return self._before if first is None else first


def _delete(
    connection: Connection, table: type[Any], key: tuple[Any, ...], which: tuple[ColumnElement[bool], ...]
) -> int:
    """Delete up to 1,000 rows of those that meet ``which``; how many it were."""
    some = select(*key).where(*which).limit(_AT_ONCE)
    return connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
