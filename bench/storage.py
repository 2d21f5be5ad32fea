"""Bytes per reading, indexes and all, and the rates of writing and upkeep, on SQLite and PostgreSQL.

    python -m bench.storage
    python -m bench.storage --database postgresql --meters 50 --hours 48 --runs 1 --json

The simulated houses of `meter_firmware.sensors.household`, a reading every ten seconds with the jitter of a
process, all meters in turn, as they arrive. Written by the bridge's own writer, 5,000 readings a
commit, then summed up and packed by its upkeep. Sizes are of tables with their indexes (and TOAST),
after VACUUM on PostgreSQL. ``as rows, …`` are other layouts of the same rows, for comparison; on
PostgreSQL the readings are also written in other ways.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from uuid import UUID

from sqlalchemy import Connection, Engine, func, select, text

from bridge.ingest import bulk_insert
from bridge.ingest.rows import NAMES, Row, row_of
from bridge.ingest.work import Work
from bridge.ingest.writer import Writer
from bridge.store import database
from bridge.store.pack_format import NOTHING
from bridge.store.queries import Store
from bridge.store.tables import HOUR_MS, ROLLUP, Pack, Reading
from bridge.store.upkeep import Policy, upkeep
from meter_firmware.sensors.household import Household
from tests.support.databases import new_database, running_postgres

START = 1_795_392_000_000
INTERVAL_MS = 10_000
BATCH = 5000

# fmt: off
LAYOUTS = {
    "sqlite": {
        "WITHOUT ROWID": """CREATE TABLE other (meter INTEGER, epoch INTEGER, seq INTEGER, ts INTEGER,
            voltage REAL, current REAL, power REAL, power_factor REAL, frequency REAL, energy REAL,
            alarm BOOLEAN, PRIMARY KEY (meter, epoch, seq)) WITHOUT ROWID""",
    },
    "postgresql": {
        "float4, no padding": """CREATE TABLE other (epoch int8, seq int8, ts int8, energy float8, meter int4,
            voltage float4, current float4, power float4, power_factor float4, frequency float4,
            alarm bool, PRIMARY KEY (meter, epoch, seq))""",
        "float4, int4 seq, epoch by number, no NULL": """CREATE TABLE other (ts int8, energy float8,
            meter int4, seq int4, voltage float4, current float4, power float4, power_factor float4,
            frequency float4, alarm bool, PRIMARY KEY (meter, seq))""",
    },
}
# fmt: on


def readings(meters: int, hours: int) -> Iterator[Row]:
    """All readings in the order in which they arrive."""
    houses = [Household(seed=61850, number=number) for number in range(meters)]
    jitter = random.Random(61850)
    for seq in range(1, hours * HOUR_MS // INTERVAL_MS):
        for number, house in enumerate(houses):
            ts = START + seq * INTERVAL_MS + number * INTERVAL_MS // meters + round(jitter.gauss(3, 1))
            now = house.measure(ts / 1000)
            told = NOTHING._replace(epoch=1_790_000_000_000, seq=seq, ts=ts, clock_synchronized=True, **now)
            yield row_of(str(UUID(int=number + 1)), told)


def batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """``rows`` in commits."""
    for start in range(0, len(rows), BATCH):
        yield list(rows[start : start + BATCH])


def size(engine: Engine, table: str) -> int:
    """Bytes of a table with all that belongs to it."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        if engine.dialect.name == "sqlite":
            belongs = "SELECT name FROM sqlite_master WHERE tbl_name = :table"
            pages = text(f"SELECT sum(pgsize) FROM dbstat WHERE name IN ({belongs})")
            return int(connection.scalar(pages, {"table": table}) or 0)
        connection.execute(text(f"VACUUM ANALYZE {table}"))
        return int(connection.scalar(text(f"SELECT pg_total_relation_size('{table}')")) or 0)


def seconds(do: Callable[[], object]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


def measure(new: Callable[[], str], rows: list[Row], options: argparse.Namespace) -> dict[str, float]:
    """Store, sum up, pack, read; the figures."""
    url = new()
    engine = database.connect(url)
    database.migrate(engine)
    try:
        return {
            **written(engine, rows),
            **ways_to_write(new, rows),
            **layouts(engine, len(rows)),
            **kept_up(engine, len(rows), options),
            **read(url, options),
        }
    finally:
        engine.dispose()


def written(engine: Engine, rows: list[Row]) -> dict[str, float]:
    """Everything through the bridge's writer."""
    writer = Writer(engine, max_meters_per_ied=50)
    took = seconds(lambda: [writer.commit(Work(START, rows=some)) for some in batches(rows)])
    return {"rows written/s": len(rows) / took, "B/reading as rows": size(engine, "reading") / len(rows)}


def layouts(engine: Engine, count: int) -> dict[str, float]:
    """The same rows in other tables, in the order in which they came."""
    result = {}
    for name, create in LAYOUTS[engine.dialect.name].items():
        with engine.begin() as connection:
            connection.exec_driver_sql(create)
            connection.exec_driver_sql("CREATE INDEX other_ts ON other (meter, ts)")
            columns = create.split("(", 1)[1].split("PRIMARY")[0].strip(" ,").split(",")
            names = ", ".join(column.split()[0] for column in columns)
            connection.exec_driver_sql(
                f"INSERT INTO other ({names}) SELECT {names} FROM reading ORDER BY seq, meter"
            )
        result[f"B/reading as rows, {name}"] = size(engine, "other") / count
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE other")
    return result


def ways_to_write(new: Callable[[], str], rows: list[Row]) -> dict[str, float]:
    """Readings/s into an empty table: as the bridge does it, and as rows of one INSERT."""
    keyed = [(UUID(row[0]).int, *row[1:]) for row in rows[:100_000]]
    result = {}
    for name, write in (
        ("as the bridge does", bulk_insert.insert_readings),
        ("512 rows an INSERT", multi_row),
    ):
        engine = database.connect(new())
        database.migrate(engine)
        begin = time.perf_counter()
        for some in batches(keyed):
            with engine.begin() as connection:
                write(connection, some)
        result[f"inserted/s, {name}"] = len(keyed) / (time.perf_counter() - begin)
        engine.dispose()
    return result


def multi_row(connection: Connection, rows: Sequence[Row]) -> None:
    """INSERT with up to 512 rows of parameters."""
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    fields = ("meter", "epoch", "seq", "ts", *rows[0][NAMES], "alarm", "other", "clock_synchronized")
    names = ", ".join(fields)
    marks = f"({','.join([mark] * len(fields))})"
    for start in range(0, len(rows), 512):
        some = rows[start : start + 512]
        values = ",".join([marks] * len(some))
        statement = f"INSERT INTO reading ({names}) VALUES {values} ON CONFLICT DO NOTHING"
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(row[:NAMES] for row in some)))


def kept_up(engine: Engine, count: int, options: argparse.Namespace) -> dict[str, float]:
    """Upkeep without pauses: hours summed up, then days packed."""
    now = START + (options.hours + 24) * HOUR_MS

    def go(pack_after: timedelta) -> None:
        upkeep(engine, Policy(pack_after=pack_after), now=now, pause=lambda _seconds: False)

    summing, packing = seconds(lambda: go(timedelta(days=999))), seconds(lambda: go(timedelta()))
    with engine.connect() as connection:
        data = connection.scalar(select(func.sum(func.length(Pack.data)))) or 0
        rollups = connection.scalar(select(func.count()).select_from(ROLLUP)) or 0
        left = connection.scalar(select(func.count()).select_from(Reading)) or 0
    return {
        "readings summed up/s": count / summing,
        "meter-hours summed up/s": options.meters * options.hours / summing,
        "readings packed/s": count / packing,
        "B/reading packed": size(engine, "reading_pack") / (count - left),
        "B/reading packed, data alone": int(data) / (count - left),
        "B/roll-up": size(engine, "rollup") / rollups,
    }


def read(url: str, options: argparse.Namespace) -> dict[str, float]:
    """One meter's readings out of its packs."""
    with Store.open(url) as store:
        meter = store.meters()[0].meter
        count = options.hours * HOUR_MS // INTERVAL_MS
        return {"read from packs/s": count / seconds(lambda: sum(1 for _ in store.readings(meter)))}


@contextmanager
def urls(options: argparse.Namespace) -> Iterator[Callable[[], str]]:
    """Something that makes empty databases."""
    if options.database == "sqlite":
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            names = iter(range(3 * options.runs))
            yield lambda: f"sqlite:///{folder}/{next(names)}.sqlite"
    else:
        with contextmanager(running_postgres)() as server:
            yield lambda: new_database(server)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--meters", type=int, default=20)
    add("--hours", type=int, default=24)
    add("--runs", type=int, default=3)
    add("--database", choices=["sqlite", "postgresql"], default="sqlite")
    add("--dir", help="folder for the SQLite files; a disk, not a RAM disk")
    add("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def main() -> None:
    """See the module."""
    options = parsed()
    rows = list(readings(options.meters, options.hours))
    with urls(options) as new:
        results = [measure(new, rows, options) for _ in range(options.runs)]
    summary = {
        name: {"median": statistics.median(values), "min": min(values), "max": max(values)}
        for name in results[0]
        for values in [[result[name] for result in results]]
    }
    if options.json:
        print(json.dumps({"database": options.database, "readings": len(rows), "runs": options.runs,
                          "cores": os.cpu_count(), "results": summary}))  # fmt: skip
        return
    print(f"{options.database}, {len(rows)} readings, median of {options.runs} (min to max)")
    for name, of in summary.items():
        print(f"{name:66}{of['median']:>11,.1f}  ({of['min']:,.1f} to {of['max']:,.1f})")


if __name__ == "__main__":
    main()
