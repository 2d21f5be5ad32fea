"""What load profiles cost: upkeep of an hour of a meter with and without them, reading a month, bytes a year,
computing a day again from its readings, and pricing it again from its intervals.

    python -m bench.profiles
    python -m bench.profiles --database postgresql --meters 100 --hours 26 --runs 3 --json

Readings of simulated houses every ten seconds (`bench.storage`), stored by the bridge's own writer; upkeep
when each hour is over, as in a running bridge: once as it is, and once with the profiles left out, which is
the reference beside it. A town of 10,000 meters has 2.8 meter-hours a second. Times of upkeep and of a day
again are those of this process, without PostgreSQL's own.
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
from bridge.store.due import due_again
from bridge.store.queries import Store
from bridge.store.tables import DAY_MS, HOUR_MS, LoadProfile, moment
from bridge.store.tariff_energy import tariff_energy
from bridge.store.tariffs import EXAMPLE, parse
from bridge.store.upkeep import Policy, upkeep
from broker.calendar import Calendar

TOWN = 10_000
READS = 200
DAY = START - START % DAY_MS
TS = 3
BOTH = ("sqlite", "postgresql")


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


def month_ms(url: str) -> tuple[list[float], float]:
    """ms of each read of a month of one meter, whose days are like the first; the mean without waiting."""
    engine = database.connect(url)
    with engine.begin() as connection:
        table = LoadProfile.__table__  # type: ignore[attr-defined]
        day = connection.execute(select(table).order_by(table.c.meter, table.c.start)).first()
        assert day is not None
        some = [{**day._asdict(), "meter": 1_000_000, "start": START + n * DAY_MS} for n in range(31)]
        connection.execute(table.insert(), some)
    with Store.open(url) as store:
        meter = store.meters()[0].meter.model_copy(update={"key": 1_000_000})
        times, cpu = [], time.process_time()
        for _ in range(READS):
            begin = time.perf_counter()
            found = list(store.profiles.table(meter, start=START, end=START + 31 * DAY_MS).rows)
            times.append(1000 * (time.perf_counter() - begin))
            assert len(found) > 31
        cpu = time.process_time() - cpu
    _delete(engine)
    return sorted(times), 1000 * cpu / READS


def _delete(engine: Engine) -> None:
    with engine.begin() as connection:
        table = LoadProfile.__table__  # type: ignore[attr-defined]
        connection.execute(table.delete().where(table.c.meter == 1_000_000))


def again_ms(url: str, meters: int) -> float:
    """ms of this process for a day of a meter that is computed again, as after `store recompute`."""
    engine = database.connect(url)
    with database.alone(engine) as connection:
        assert due_again(connection, start=DAY, end=DAY + DAY_MS) > meters
    begin = time.process_time()
    done = upkeep(engine, Policy(), now=DAY + 3 * DAY_MS, pause=lambda _seconds: False)
    spent = time.process_time() - begin
    assert done is not None
    assert done.hours > meters
    engine.dispose()
    return 1000 * spent / meters


def pricing_ms(url: str) -> float:
    """ms for a day of a meter: its energy by tariff, as after a change of tariffs."""
    utc = Calendar.named("UTC")
    tariffs = parse(EXAMPLE.read_text(), source="example", calendar=utc)
    days = list(utc.days(moment(DAY), moment(DAY + DAY_MS)))
    with Store.open(url) as store:
        meters = store.registry()
        begin = time.process_time()
        rows = list(tariff_energy(store.profiles, meters, days, tariffs).rows)
        spent = time.process_time() - begin
    assert len(rows) == len(meters)
    return 1000 * spent / len(meters)


def year_kb(url: str) -> float:
    """kB of the values of a year of a meter, as the first whole day is."""
    engine = database.connect(url)
    with engine.connect() as connection:
        first = col(LoadProfile.start) == DAY
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
        again, pricing = again_ms(url, options.meters), pricing_ms(url)
        months, cpu = month_ms(url)
        more = (with_profiles - without) * TOWN / HOUR_MS
        return {
            "upkeep ms a meter-hour": with_profiles,
            "without profiles": without,
            "ratio": with_profiles / without,
            "% of a core more for 10,000 meters": 100 * more,
            "% of a core for 10,000 meters": 100 * with_profiles * TOWN / HOUR_MS,
            "day of a meter again, ms": again,
            "day of 10,000 meters again, s": again * TOWN / 1000,
            "day of a meter priced again, ms": pricing,
            "day of 10,000 meters priced again, s": pricing * TOWN / 1000,
            "month of a meter, ms p50": statistics.median(months),
            "month of a meter, ms p99": months[len(months) * 99 // 100],
            "month of a meter, ms of this process": cpu,
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
    add("--database", choices=[*BOTH, "both"], default="both")
    add("--dir", help="folder for the SQLite files; a disk, not a RAM disk")
    add("--json", action="store_true", help="print one JSON object")
    return parser.parse_args()


def main() -> None:
    """See the module."""
    options = parsed()
    rows = list(readings(options.meters, options.hours))
    told: dict[str, dict[str, float]] = {}
    wanted = BOTH if options.database == "both" else [options.database]
    for name in wanted:
        options.database = name
        results = [measure(options, rows) for _ in range(options.runs)]
        told[name] = {
            figure: statistics.median(result[figure] for result in results) for figure in results[0]
        }
    if options.json:
        print(json.dumps(told))
        return
    print(f"{'':40}" + "".join(f"{name:>12}" for name in told))
    for name in next(iter(told.values())):
        print(f"{name:40}" + "".join(f"{of[name]:12.2f}" for of in told.values()))


if __name__ == "__main__":
    main()
