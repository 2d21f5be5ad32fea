"""What load profiles cost: upkeep of an hour of a meter with and without them, reading a month, bytes a year.

    python -m bench.profiles
    python -m bench.profiles --database postgresql --meters 100 --hours 26 --runs 3 --json

Readings of simulated houses every ten seconds (`bench.storage`), stored by the bridge's own writer; upkeep
when each hour is over, as in a running bridge: once as it is, and once with the profiles left out, which is
the reference beside it. A town of 10,000 meters has 2.8 meter-hours a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from itertools import groupby
from unittest.mock import patch

from sqlalchemy import Engine, func, select
from sqlmodel import col

from bench.storage import START, batches, readings, urls
from bridge.ingest.rows import Row
from bridge.ingest.work import Work
from bridge.ingest.writer import Writer
from bridge.store import database, profiles
from bridge.store.queries import Store
from bridge.store.tables import DAY_MS, HOUR_MS, LoadProfile
from bridge.store.upkeep import Policy, upkeep

TOWN = 10_000
READS = 200
TS = 3


def upkeep_ms(url: str, rows: list[Row], meters: int) -> float:
    """ms of this process for an hour of a meter, summed up and packed; the day's end is in it."""
    engine = database.connect(url)
    database.migrate(engine)
    writer = Writer(engine, max_meters_per_ied=50)
    spent, hours = 0.0, 0
    for hour, of_hour in groupby(rows, key=lambda row: row[TS] // HOUR_MS):
        for some in batches(list(of_hour)):
            writer.commit(Work(START, rows=some))
        hours += 1
        begin = time.process_time()
        now = hour * HOUR_MS + HOUR_MS // 2  # the hour before is over and may be packed
        upkeep(engine, Policy(), now=now, pause=lambda _seconds: False)
        spent += time.process_time() - begin
    engine.dispose()
    return 1000 * spent / (meters * (hours - 1))


def month_ms(url: str) -> list[float]:
    """ms of each read of a month of one meter, whose days are all like the first."""
    engine = database.connect(url)
    with engine.begin() as connection:
        table = LoadProfile.__table__  # type: ignore[attr-defined]
        day = connection.execute(select(table).order_by(table.c.meter, table.c.start)).first()
        assert day is not None
        some = [{**day._asdict(), "meter": 1_000_000, "start": START + n * DAY_MS} for n in range(31)]
        connection.execute(table.insert(), some)
    with Store.open(url) as store:
        meter = store.meters()[0].meter.model_copy(update={"key": 1_000_000})
        times = []
        for _ in range(READS):
            begin = time.perf_counter()
            found = list(store.profiles.table(meter, start=START, end=START + 31 * DAY_MS).rows)
            times.append(1000 * (time.perf_counter() - begin))
            assert len(found) > 31
    _delete(engine)
    return sorted(times)


def _delete(engine: Engine) -> None:
    with engine.begin() as connection:
        table = LoadProfile.__table__  # type: ignore[attr-defined]
        connection.execute(table.delete().where(table.c.meter == 1_000_000))


def year_kb(url: str) -> float:
    """kB of the values of a year of a meter, as the first whole day is."""
    engine = database.connect(url)
    with engine.connect() as connection:
        first = col(LoadProfile.start) == START - START % DAY_MS
        size = connection.scalar(select(func.avg(func.length(col(LoadProfile.data)))).where(first))
    engine.dispose()
    return 365 * float(size or 0) / 1000


def measure(options: argparse.Namespace, rows: list[Row]) -> dict[str, float]:
    """One run."""
    with urls(options) as new:
        with patch.object(profiles, "renew"):
            without = upkeep_ms(new(), rows, options.meters)
        url = new()
        with_profiles = upkeep_ms(url, rows, options.meters)
        months = month_ms(url)
        more = (with_profiles - without) * TOWN / HOUR_MS
        return {
            "upkeep ms a meter-hour": with_profiles,
            "without profiles": without,
            "ratio": with_profiles / without,
            "% of a core more for 10,000 meters": 100 * more,
            "month of a meter, ms p50": statistics.median(months),
            "month of a meter, ms p99": months[len(months) * 99 // 100],
            "kB of values a year": year_kb(url),
        }


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--meters", type=int, default=20)
    add("--hours", type=int, default=26)
    add("--runs", type=int, default=1)
    add("--database", choices=["sqlite", "postgresql"], default="sqlite")
    add("--dir", help="folder for the SQLite files; a disk, not a RAM disk")
    add("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def main() -> None:
    """See the module."""
    options = parsed()
    rows = list(readings(options.meters, options.hours))
    results = [measure(options, rows) for _ in range(options.runs)]
    told = {name: statistics.median(result[name] for result in results) for name in results[0]}
    if options.json:
        print(json.dumps(told))
    else:
        for name, value in told.items():
            print(f"{name:40}{value:12.2f}")


if __name__ == "__main__":
    main()
