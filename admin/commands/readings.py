"""``meter61850 readings``: what a meter measured, from the database: each reading, hours or days."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import note, progress, show
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.store.every_meter import OfMeter, together, write_partitioned
from bridge.store.export import TIMES, Table, write_csv, write_parquet
from bridge.store.queries import Store
from bridge.store.rollup import DAY, HOUR
from bridge.store.tables import Meter as MeterRow
from bridge.store.tables import at_ms, moment
from broker.calendar import Calendar
from broker.contract.errors import ConfigurationError
from broker.contract.quantities import QUANTITIES

LAST = 20


class Resolution(StrEnum):
    """The span of one row."""

    RAW = "raw"
    HOUR = "hour"
    DAY = "day"


Last = Annotated[
    int | None,
    typer.Option(min=1, show_default=False, help=f"Only the last N; default: {LAST} without --from."),
]
AskedResolution = Annotated[
    Resolution | None,
    typer.Option(show_default=False, help="Each reading, or roll-ups of hours or UTC days."),
]
Asked = Annotated[
    str | None,
    typer.Argument(
        metavar="METER", show_default=False, help="meter_id, SMGW001M17, or a name that only one meter has."
    ),
]
ParquetFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", show_default=False, help="Write a Parquet file, or a folder (--partitioned)."
    ),
]
Partitioned = Annotated[
    bool, typer.Option("--partitioned", help="A folder of Parquet files: month=2026-11/meter_id=ID")
]
Everything = Annotated[
    bool, typer.Option("--all", help="All meters, also retired ones, with columns that name the meter.")
]

# fmt: off
_LONGEST = ((timedelta(hours=25), Resolution.RAW), (timedelta(days=32), Resolution.HOUR))
"""The resolution for a range of at most so long: some 9,000 readings or 768 hours; days beyond."""

# fmt: on

_STATISTICS = {"V": ("min", "mean", "max"), "A": ("max",), "W": ("min", "mean", "max")}
"""Of quantities with this unit, what of a roll-up fits on a screen; JSON, CSV and Parquet have everything."""
_ROLLUP = ("start", "readings", "energy_used", "energy_doubtful")
_OF_QUANTITIES = tuple(
    f"{row.name}_{what}" for row in QUANTITIES.values() for what in _STATISTICS.get(row.unit, ())
)
_SILENT = {"other": (None,), "clock_synchronized": (None, True)}
"""What a column of readings may say that tells people nothing; of a quantity, that it is absent."""

_NEEDED = ("ts", "start", "power", "energy", "energy_import", "energy_export")
"""What stays on a narrow terminal; epoch gives way first, then the other columns from the right."""

app = new_app(rich_markup_mode=None)


@app.command()
def readings(
    meter: Asked = None,
    everything: Everything = False,
    from_: From = None,
    until: Until = None,
    month: Month = None,
    last: Last = None,
    resolution: AskedResolution = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    parquet: ParquetFile = None,
    partitioned: Partitioned = False,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print a meter's readings, oldest first, or export those of all; docs/topics.md names the units.

    A range of more than a day is shown in hours, of more than 31 days in days, without --resolution
    and --last. CSV and Parquet have each reading without --resolution.

    \b
    meter61850 readings "House 1"
    meter61850 readings "House 1" --from 2026-11-01 --until 2026-11-08
    meter61850 readings "House 1" --from 24h --csv > house-1.csv
    meter61850 readings "House 1" --from 365d --resolution hour --parquet house-1.parquet
    meter61850 readings --all --month 2026-11 --csv > november.csv
    meter61850 readings --all --month 2026-11 --parquet readings --partitioned
    """
    if as_csv + as_json + (parquet is not None) > 1:
        raise ConfigurationError("--csv, --parquet and --json: choose one")
    if everything == (meter is not None):
        raise ConfigurationError("which meter? name one, or say --all")
    calendar = calendar_of(time_zone)
    begin, end = span(from_, until, month, calendar=calendar)
    form = Form(as_csv=as_csv, parquet=parquet, partitioned=partitioned, calendar=calendar)
    chosen = resolution or (Resolution.RAW if form.is_file or last else _fitting(begin, end))
    if begin is None and last is None and not everything:
        last = LAST
    wanted = Range(begin, end, last, chosen)
    with open_store(database) as store:
        if meter is None:
            _export_all(store, wanted, form)
        elif form.is_file:
            _export_one(store, store.meter(meter).meter, wanted, form)
        else:
            table = wanted.table(store, store.meter(meter).meter)
            _show(table, chosen, as_json=as_json, told=resolution is not None)


@dataclass(frozen=True)
class Form:
    """How the rows leave us."""

    as_csv: bool
    parquet: Path | None
    partitioned: bool
    calendar: Calendar

    def __post_init__(self) -> None:
        """ConfigurationError for a folder without a name."""
        if self.partitioned and self.parquet is None:
            raise ConfigurationError("--partitioned: name the folder with --parquet")

    @property
    def is_file(self) -> bool:
        """Whether it is for programs: of all columns and rows."""
        return self.as_csv or self.parquet is not None

    def write(self, tables: Sequence[OfMeter], what: str) -> None:
        """Of one or many meters, with columns that name them."""

        def bar(of: Iterable[OfMeter]) -> Iterator[OfMeter]:
            return progress(of, what="meters", total=len(tables))

        if self.partitioned and self.parquet is not None:
            rows = write_partitioned(tables, self.parquet, self.calendar, through=bar)
            note(f"{rows} rows ({what}) in {self.parquet}")
        else:
            self.write_one(together(tables, through=bar), what)

    def write_one(self, table: Table, what: str) -> None:
        """Of one table."""
        if self.parquet is None:
            write_csv(table, sys.stdout)
        else:
            rows = write_parquet(table, self.parquet)
            note(f"{rows} rows ({what}) in {self.parquet}")


@dataclass(frozen=True)
class Range:
    """What of a meter is asked for."""

    begin: datetime | None
    end: datetime | None
    last: int | None
    resolution: Resolution

    def table(self, store: Store, meter: MeterRow) -> Table:
        """The rows."""
        if self.resolution is not Resolution.RAW:
            span = HOUR if self.resolution is Resolution.HOUR else DAY
            return store.rollups(meter, span, since=self.begin, until=self.end, last=self.last)
        begin, end = at_ms(self.begin) if self.begin else 0, at_ms(self.end) if self.end else None
        if end is None:
            rows = store.readings(meter, since=self.begin, last=self.last)
        else:
            rows = store.span(meter, start=begin, end=end)
            rows = rows if self.last is None else iter(deque(rows, maxlen=self.last))
        return store.table(meter, rows, start=begin, end=end)

    def total(self, store: Store, meter: MeterRow) -> int | None:
        """About how many rows there are, if there is a progress display to use it."""
        if self.last is not None or self.end is not None or not sys.stderr.isatty():
            return self.last
        return store.count(meter, since=self.begin)


def _export_one(store: Store, meter: MeterRow, wanted: Range, form: Form) -> None:
    table = wanted.table(store, meter)
    if form.partitioned:
        form.write([(meter, table)], wanted.resolution)
    else:
        counted = progress(table.rows, what="readings", total=wanted.total(store, meter))
        form.write_one(Table(table.fields, counted), wanted.resolution)


def _export_all(store: Store, wanted: Range, form: Form) -> None:
    if not form.is_file or wanted.last is not None:
        raise ConfigurationError("--all: name the form, --csv or --parquet FILE, and no --last")
    meters = store.registry(retired=True)
    looked_at = progress(meters, what="looking for columns", total=len(meters))
    form.write([(meter, wanted.table(store, meter)) for meter in looked_at], wanted.resolution)


def _fitting(begin: datetime | None, end: datetime | None) -> Resolution:
    """The resolution for the time from ``begin`` until ``end``, or until now."""
    length = (end or datetime.now(UTC)) - begin if begin is not None else timedelta()
    return next((fitting for longest, fitting in _LONGEST if length <= longest), Resolution.DAY)


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    """Other numbers as an object."""
    other = row.get("other")
    return row if other is None else row | {"other": json.loads(other)}


def _without_nothing(rows: list[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """For people: of ``names`` only the columns that say something."""
    usual = {name: _SILENT.get(name, (None,)) for name in names}
    silent = {name for name, values in usual.items() if all(row[name] in values for row in rows)}
    return [{name: value for name, value in row.items() if name not in silent} for row in rows]


def _show(table: Table, resolution: Resolution, *, as_json: bool, told: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            name: moment(value) if name in TIMES else value
            for name, value in zip(table.fields, row, strict=True)
        }
        for row in table.rows
    ]
    if as_json:
        rows = [{"resolution": resolution.value, **_decoded(row)} for row in rows]
    elif resolution is Resolution.RAW:
        rows = _without_nothing(
            rows, [name for name in table.fields if name in QUANTITIES or name in _SILENT]
        )
    else:
        told_of = [name for name in _OF_QUANTITIES if name in table.fields]
        rows = _without_nothing([{name: row[name] for name in (*_ROLLUP, *told_of)} for row in rows], told_of)
        how = "" if told else "; --resolution raw tells each reading"
        note(f"by {resolution} (UTC), complete ones only{how}")
    empty = "no reading" if resolution is Resolution.RAW else f"no {resolution} is summed up yet"
    spare = [name for name in reversed(table.fields) if name not in (*_NEEDED, "epoch")]
    show(rows, as_json=as_json, empty=empty, spare=["epoch", *spare])
