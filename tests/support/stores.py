"""A database with a writer, a reader and upkeep, for tests of what becomes of stored readings.

>>> with keeping(url) as kept:  # doctest: +SKIP
...     kept.put(row(1, 1, ts=DAY0, energy=98_414.0))
...     kept.upkeep()
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, func, select
from sqlmodel import SQLModel

from bridge.ingest.rows import Row, row_of
from bridge.ingest.work import Work
from bridge.ingest.writer import Committed, Writer
from bridge.store.pack_format import NOTHING, StoredReading
from bridge.store.queries import Store
from bridge.store.tables import DAY_MS, HOUR_MS, ROLLUP, Meter
from bridge.store.upkeep import Done, Policy, upkeep
from tests.support.databases import migrated

DAY0 = 1_795_392_000_000
"""2026-11-23T00:00:00Z."""

NOW = DAY0 + 10 * DAY_MS
"""Long after: every hour of the first days is over, and may be packed."""


def meter_id(number: int) -> str:
    """A meter."""
    return f"3f2504e0-4f89-41d3-9a0c-{number:012x}"


def row(number: int, seq: int, *, ts: int, epoch: int = 1, **quantities: Any) -> Row:
    """A reading as the sorter makes it."""
    return row_of(meter_id(number), NOTHING._replace(epoch=epoch, seq=seq, ts=ts, **quantities))


def series(number: int, count: int, *, start: int = DAY0, first: int = 1, step: int = 10_000) -> list[Row]:
    """``count`` readings as a house gives them, ``step`` ms apart; 1 Wh in each."""
    return [
        row(
            number,
            seq,
            ts=start + (seq - first) * step + seq % 7,
            voltage=round(229 + seq % 37 / 10, 1),
            current=round(0.191 + seq % 101 / 1000, 3),
            power=round(-21.3 + seq % 499 / 10, 1),
            power_factor=None if seq % 50 == 0 else round(0.48 + seq % 13 / 100, 2),
            frequency=50.0,
            energy=98_414.0 + seq,
            alarm=seq % 1000 == 0,
        )
        for seq in range(first, first + count)
    ]


@dataclass
class Kept:
    """One database."""

    url: str
    engine: Engine
    store: Store
    writer: Writer

    def put(self, *rows: Row, now: int = NOW) -> int:
        """Store readings in one commit, as the bridge does; how many were new."""
        return self.commit(*rows, now=now).new

    def commit(self, *rows: Row, now: int = NOW) -> Committed:
        """The same; what came of it."""
        self.writer.keys |= dict(self._keys())
        return self.writer.commit(Work(now, rows=list(rows), senders=["-"] * len(rows)))

    def _keys(self) -> list[tuple[str, int]]:
        return [(s.meter.meter_id, s.meter.key) for s in self.store.meters(retired=True) if s.meter.key]

    def upkeep(
        self,
        *,
        now: int = NOW,
        keep: timedelta | None = None,
        pack_after: timedelta = Policy.pack_after,
        ntp: bool = True,
    ) -> Done:
        """One round."""
        policy = Policy(keep, pack_after, lambda: ntp)
        done = upkeep(self.engine, policy, now=now, pause=lambda _seconds: False)
        assert done is not None
        return done

    def meter(self, number: int = 1) -> Meter:
        """The registry's row."""
        return self.store.meter(meter_id(number)).meter

    def readings(self, number: int = 1, **query: Any) -> list[StoredReading]:
        """What the store tells of a meter."""
        return list(self.store.readings(self.meter(number), **query))

    def rollups(self, span: int, number: int = 1) -> list[dict[str, Any]]:
        """All roll-ups of a meter, by time."""
        wanted = select(ROLLUP).where(ROLLUP.c.span == span, ROLLUP.c.meter == self.meter(number).key)
        with self.engine.connect() as connection:
            return [found._asdict() for found in connection.execute(wanted.order_by(ROLLUP.c.start))]

    def used(self, number: int = 1) -> dict[int, float | None]:
        """Energy used by number of the hour from DAY0 on."""
        return {(r["start"] - DAY0) // HOUR_MS: r["energy_used"] for r in self.rollups(3600, number)}

    def count(self, table: type[SQLModel]) -> int:
        """Rows of a table."""
        with self.engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0


@contextmanager
def keeping(url: str) -> Iterator[Kept]:
    """A database with our schema."""
    engine = migrated(url)
    with Store.open(url) as store:
        yield Kept(url, engine, store, Writer(engine, max_meters_per_ied=50))
    engine.dispose()
