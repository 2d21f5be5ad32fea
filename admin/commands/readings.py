"""``meter61850 readings``: what a meter measured, from the database: each reading, hours or days."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, Meter, since
from admin.output import note, progress, show
from admin.stores import open_store
from bridge.store.export import TIMES, Table, write_csv, write_parquet
from bridge.store.queries import Store
from bridge.store.rollup import DAY, HOUR
from bridge.store.tables import Meter as MeterRow
from bridge.store.tables import at_ms, moment
from broker.contract.errors import ConfigurationError
from broker.contract.quantities import QUANTITIES

LAST = 20


class Resolution(StrEnum):
    """The span of one row."""

    RAW = "raw"
    HOUR = "hour"
    DAY = "day"


Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", show_default=False, help="15m, 24h, 7d, or 2026-11-23T12:00 (UTC)."
    ),
]
Last = Annotated[
    int | None,
    typer.Option(min=1, show_default=False, help=f"Only the last N; default: {LAST} without --since."),
]
AskedResolution = Annotated[
    Resolution | None,
    typer.Option(show_default=False, help="Each reading, or roll-ups of hours or UTC days."),
]
ParquetFile = Annotated[
    Path | None, typer.Option(metavar="FILE", show_default=False, help="Write a Parquet file.")
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

_NEEDED = ("ts", "start", "epoch", "power", "energy", "energy_import", "energy_export")
"""What stays on a narrow terminal; the other columns give way from the right."""

app = new_app(rich_markup_mode=None)


@app.command()
def readings(
    meter: Meter,
    start: Since = None,
    last: Last = None,
    resolution: AskedResolution = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    parquet: ParquetFile = None,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """Print a meter's readings, oldest first; docs/topics.md names the units.

    A range of more than a day is shown in hours, of more than 31 days in days, without --resolution
    and --last. CSV and Parquet have each reading without --resolution.

    \b
    meter61850 readings "House 1"
    meter61850 readings "House 1" --since 30d
    meter61850 readings "House 1" --since 24h --csv > house-1.csv
    meter61850 readings "House 1" --since 365d --resolution hour --parquet house-1.parquet
    """
    if as_csv + as_json + (parquet is not None) > 1:
        raise ConfigurationError("--csv, --parquet and --json: choose one")
    begin = since(start) if start else None
    exported = as_csv or parquet is not None
    chosen = resolution or (Resolution.RAW if exported or last else _fitting(begin))
    if begin is None and last is None:
        last = LAST
    with open_store(database) as store:
        table, total = _table(store, store.meter(meter).meter, chosen, begin=begin, last=last)
        if not exported:
            _show(table, chosen, as_json=as_json, told=resolution is not None)
            return
        counted = progress(table.rows, what="readings", total=total)
        if parquet is None:
            write_csv(Table(table.fields, counted), sys.stdout)
        else:
            rows = write_parquet(Table(table.fields, counted), parquet)
            note(f"{rows} rows ({chosen}) in {parquet}")


def _fitting(begin: datetime | None) -> Resolution:
    """The resolution for the time from ``begin`` until now."""
    length = datetime.now(UTC) - begin if begin is not None else timedelta()
    return next((fitting for longest, fitting in _LONGEST if length <= longest), Resolution.DAY)


def _table(
    store: Store, meter: MeterRow, resolution: Resolution, *, begin: datetime | None, last: int | None
) -> tuple[Table, int | None]:
    """The rows, and their approximate number if there is a progress display."""
    if resolution is not Resolution.RAW:
        span = HOUR if resolution is Resolution.HOUR else DAY
        return store.rollups(meter, span, since=begin, last=last), last
    rows = store.readings(meter, since=begin, last=last)
    total = last if last is not None or not sys.stderr.isatty() else store.count(meter, since=begin)
    return store.table(meter, rows, start=at_ms(begin) if begin else 0), total


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
    spare = [name for name in reversed(table.fields) if name not in _NEEDED]
    show(rows, as_json=as_json, empty=empty, spare=["epoch", *spare])
