"""A town's month in a database, as the bridge would have left it, for the web's benchmark.

    python -m bench.web_store sqlite:////var/tmp/town.sqlite --meters 10000 --days 30

Every meter has a reading every ten seconds: a pack of each hour and, of the last one or two, rows in the
order in which readings arrive; roll-ups of hours and days. Made inside the database, one meter's values
for all: at its highest rate the bridge itself would take 20 hours.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.progress import Progress
from sqlalchemy import Connection, Engine, Table, insert, literal, select, text
from sqlmodel import col

from bench.ingest_load import meter_id
from bridge.store import database
from bridge.store.pack_format import NOTHING, StoredReading, columns_of, encode
from bridge.store.rollup import DAY, HOUR, fitting, summary
from bridge.store.tables import DAY_MS, HOUR_MS, ROLLUP, Meter, Pack, Reading, at_ms
from bridge.store.upkeep import Policy
from meter_firmware.sensors.household import Household

STEP = 10_000
PER_HOUR = HOUR_MS // STEP
PACK_HOURS = fitting(PER_HOUR)[1]


def fill(engine: Engine, *, meters: int, days: int, now: int) -> None:
    """Fill the empty database of ``engine``; ``now`` (ms) is the end of the month."""
    over = now - Policy().pack_after // timedelta(milliseconds=1)
    last = over - over % (PACK_HOURS * HOUR_MS)
    hours = range(last - days * DAY_MS, last, PACK_HOURS * HOUR_MS)
    with Progress() as progress, _quick(engine) as connection:
        connection.execute(insert(Meter), [_meter(number, hours[0]) for number in range(meters)])
        readings = iter(_readings(hours[0], now))
        for hour in progress.track(hours, description="packs, roll-ups"):
            _hours(connection, hour, [next(readings) for _ in range(PACK_HOURS * PER_HOUR)])
            connection.commit()
        for reading in progress.track(list(readings), description="rows"):
            _everywhere(connection, Reading.__table__, reading._asdict())  # type: ignore[attr-defined]
        connection.commit()
    if engine.dialect.name == "postgresql":  # as its autovacuum would have, in a month
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))


@contextmanager
def _quick(engine: Engine) -> Iterator[Connection]:
    """A connection that does not care for a power cut."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            driver: Any = connection.connection.driver_connection
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1000000"):
                driver.execute(f"PRAGMA {pragma}")
        yield connection
        if engine.dialect.name == "sqlite":
            driver.execute("PRAGMA journal_mode=WAL")


def _readings(start: int, end: int) -> Iterator[StoredReading]:
    """A simulated house, with the jitter of a process."""
    house, jitter = Household(seed=61850, number=1), random.Random(61850)
    for seq, due in enumerate(range(start, end, STEP), start=1):
        ts = due + round(abs(jitter.gauss(3, 1)))
        now = house.measure(ts / 1000)
        yield NOTHING._replace(epoch=1, seq=seq, ts=ts, **now)


def _meter(number: int, start: int) -> dict[str, Any]:
    meter = Meter(
        key=number + 1, meter_id=meter_id(number), name=f"House {number}", interval=STEP / 1000,
        first_seen=start, last_seen=start,
    )  # fmt: skip
    return meter.model_dump()


def _hours(connection: Connection, start: int, rows: list[StoredReading]) -> None:
    """A pack and its roll-ups, and with the first of a UTC day one of the day, which is as large."""
    pack = {
        "epoch": rows[0].epoch, "seq": rows[-1].seq, "first_seq": rows[0].seq, "first_ts": rows[0].ts,
        "last_ts": max(row.ts for row in rows), "data": encode(rows),
    }  # fmt: skip
    _everywhere(connection, Pack.__table__, pack)  # type: ignore[attr-defined]
    summed = {"energy_used": float(PER_HOUR), **summary(columns_of(rows[:PER_HOUR]))}
    for hour in range(start, start + PACK_HOURS * HOUR_MS, HOUR_MS):
        _everywhere(connection, ROLLUP, {"span": HOUR, "start": hour, **summed})
    if start % DAY_MS == 0:
        _everywhere(connection, ROLLUP, {"span": DAY, "start": start, **summed})


def _everywhere(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    """A row with ``values`` for each meter."""
    columns = [literal(value, table.c[name].type) for name, value in values.items()]
    meters = select(col(Meter.key), *columns).order_by(col(Meter.key))
    connection.execute(insert(table).from_select(["meter", *values], meters))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--meters", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    engine = database.connect(options.url)
    database.migrate(engine)
    fill(engine, meters=options.meters, days=options.days, now=at_ms(datetime.now(UTC)))
    engine.dispose()


if __name__ == "__main__":
    main()
