"""What a month's registers and statements cost: the data of all meters, then HTML and PDF of some.

    python -m bench.bills
    python -m bench.bills --database postgresql --meters 500 --runs 3 --json

Two days of one simulated house (`bench.storage`), as the bridge's own writer and upkeep store them, are
copied to all meters and all days of a month, with the packed readings around its begin and end, and a year of
sums before it. Times are CPU of this process, which has SQLite in it; those of 10,000 meters are calculated
from the ones measured. ``bare`` only reads and unpacks the month's load profiles. ``plain`` is the corrected
register as the sum of a year's load profiles, without the table of sums: the reason that there is one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlmodel import SQLModel

from admin.statement_files import Page, html, pdf
from bench.storage import START, batches, readings, urls
from bridge.ingest.work import Work
from bridge.ingest.writer import Writer
from bridge.store import database
from bridge.store.pack_format import encode, readings_of, unpacked
from bridge.store.queries import Store
from bridge.store.register_table import register_table
from bridge.store.statement import statements
from bridge.store.tables import DAY_MS, HOUR_MS, LoadProfile, Meter, Pack, ProfileSum
from bridge.store.tariffs import EXAMPLE, parse
from bridge.store.upkeep import Policy, upkeep
from broker.calendar import Calendar, Period

TOWN, YEAR = 10_000, 365
DAYS = 31
FILES = 20
"""Statements of which HTML and PDF are made."""
FIRST = START - START % DAY_MS
CALENDAR = Calendar.named("UTC")
MONTH = Period(
    "month",
    datetime.fromtimestamp(FIRST / 1000, UTC),
    datetime.fromtimestamp(FIRST / 1000 + DAYS * 86_400, UTC),
)


def fill(url: str, meters: int) -> None:
    """Make the town's month."""
    engine = database.connect(url)
    database.migrate(engine)
    writer = Writer(engine, max_meters_per_ied=50)
    for some in batches(list(readings(1, 49))):
        writer.commit(Work(START, rows=some))
    upkeep(engine, Policy(), now=START + 60 * HOUR_MS, pause=lambda _seconds: False)
    with engine.begin() as connection:
        _copy(connection, meters)
    engine.dispose()


def _copy(connection: Connection, meters: int) -> None:
    (house,) = _rows(connection, Meter)
    day = next(one for one in _rows(connection, LoadProfile) if one["start"] == FIRST)
    total = next(one for one in _rows(connection, ProfileSum) if one["start"] == FIRST)
    packs = [one for one in _rows(connection, Pack) if one["first_ts"] < FIRST + DAY_MS + HOUR_MS]
    end = [_later(one, (DAYS - 1) * DAY_MS) for one in packs if one["last_ts"] > FIRST + DAY_MS - HOUR_MS]
    begin = [one for one in packs if one["first_ts"] < FIRST + HOUR_MS]
    for table in (LoadProfile, ProfileSum, Pack):
        connection.execute(_table(table).delete())
    for key in range(1, meters + 1):
        of = {"meter": key}
        if key > 1:
            name = {
                "key": key,
                "meter_id": f"{key:08d}-0000-4000-8000-000000000000",
                "number": None,
                "ied": None,
            }
            connection.execute(_table(Meter).insert(), [house | name])
        starts = [FIRST + n * DAY_MS for n in range(DAYS)]
        before = [FIRST - n * DAY_MS for n in range(1, YEAR + 1)]
        connection.execute(_table(LoadProfile).insert(), [day | of | {"start": at} for at in starts])
        connection.execute(
            _table(ProfileSum).insert(), [total | of | {"start": at} for at in (*before, *starts)]
        )
        connection.execute(_table(Pack).insert(), [one | of for one in (*begin, *end)])


def _table(table: type[SQLModel]) -> Any:
    return table.__table__  # type: ignore[attr-defined]


def _rows(connection: Connection, table: type[SQLModel]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(select(_table(table)))]


def _later(pack: dict[str, Any], by: int) -> dict[str, Any]:
    """The same readings, another day."""
    found = readings_of(unpacked(pack["epoch"], pack["first_seq"], pack["seq"], pack["data"]))
    moved = [one._replace(ts=one.ts + by, seq=one.seq + by // 10_000) for one in found]
    return pack | {
        "data": encode(moved), "first_seq": moved[0].seq, "seq": moved[-1].seq,
        "first_ts": pack["first_ts"] + by, "last_ts": pack["last_ts"] + by,
    }  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """CPU of this process."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(url: str) -> dict[str, float]:
    """One run."""
    tariffs = parse(EXAMPLE.read_text(), source="example", calendar=CALENDAR)
    with Store.open(url) as store:
        meters = store.registry()
        scale = TOWN / len(meters)
        registers = seconds(lambda: list(register_table(store, meters, [MONTH], CALENDAR).rows))
        bills = seconds(lambda: list(statements(store, meters, MONTH, tariffs=tariffs)))
        some = list(statements(store, meters[:FILES], MONTH, tariffs=tariffs))
        assert all(one.registers[0].used for one in some)
        pages = [Page.of(one, CALENDAR) for one in some]
        bare = seconds(lambda: _bare(store))
        plain = seconds(lambda: [_plain(store, meter) for meter in meters[:FILES]])
        return {
            "registers of 10,000 meters, both ends of the month, s": scale * registers,
            "registers and bills of 10,000 meters, s": scale * bills,
            "bare: the same load profiles read and unpacked, s": scale * bare,
            "HTML of one, ms": 1000 * seconds(lambda: [html(page) for page in pages]) / len(pages),
            "PDF of one, ms": 1000 * seconds(lambda: [pdf(page) for page in pages]) / len(pages),
            "plain: a register after a year, of 10,000 meters, s": TOWN * plain * YEAR / DAYS / FILES,
        }


def _bare(store: Store) -> None:
    with store.profiles.engine.connect() as connection:
        for (data,) in connection.execute(select(_table(LoadProfile).c.data)):
            zlib.decompress(data)


def _plain(store: Store, meter: Meter) -> int:
    days = store.profiles.days(meter, start=FIRST, end=FIRST + DAYS * DAY_MS)
    return sum(day.total("energy_import") or 0 for day in days)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--meters", type=int, default=500)
    add("--runs", type=int, default=1)
    add("--database", choices=["sqlite", "postgresql"], default="sqlite")
    add("--dir", help="folder for the SQLite files; a disk, not a RAM disk")
    add("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with urls(options) as new:
        url = new()
        fill(url, options.meters)
        results = [measure(url) for _ in range(options.runs)]
    told = {name: statistics.median(result[name] for result in results) for name in results[0]}
    if options.json:
        print(json.dumps(told))
    else:
        for name, value in told.items():
            print(f"{name:56}{value:12.2f}")


if __name__ == "__main__":
    main()
