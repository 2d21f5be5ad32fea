"""``meter61850 profile``: interval values of meters, with their marks, versions and corrections."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import note, progress, show
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.store.export import Table, write_csv, write_parquet
from bridge.store.queries import Store
from bridge.store.tables import Meter, at_ms, moment
from broker.contract.errors import ConfigurationError

USUAL = timedelta(hours=24)
_SPARE = ("version", "voltage_mean", "power_max", "power_mean", "reactive_export", "reactive_import")
"""What a narrow terminal does without, the first of them first."""
_PLAIN = {"energy_import", "energy_export", "reactive_import", "reactive_export", *_SPARE}
_OF_ROW = {"start", "end", "readings", "version"}

app = new_app(rich_markup_mode=None)


@app.command()
def profile(
    meter: Annotated[
        str | None, typer.Argument(metavar="METER", show_default=False, help="Default: all meters.")
    ] = None,
    from_: From = None,
    until: Until = None,
    month: Month = None,
    corrections: Annotated[
        bool, typer.Option("--corrections", help="What was corrected, when, why, and what stood there.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Write a Parquet file.")
    ] = None,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print a meter's load profile: energy, power and voltage of each quarter of an hour that is over.

    By default of the last 24 hours. METER61850_INTERVAL_MINUTES of the bridge says how long an interval is.
    docs/operations-store.md explains marks and versions.

    \b
    meter61850 profile "House 1"
    meter61850 profile "House 1" --month 2026-11 --csv > house-1.csv
    meter61850 profile --month 2026-11 --parquet november.parquet
    meter61850 profile "House 1" --from 7d --corrections
    """
    if as_csv + as_json + (parquet is not None) > 1:
        raise ConfigurationError("--csv, --parquet and --json: choose one")
    if corrections and (meter is None or as_csv or parquet):
        raise ConfigurationError("--corrections: of one METER, as a table or --json")
    begin, end = _ms(*span(from_, until, month, calendar=calendar_of(time_zone)))
    with open_store(database) as store:
        if corrections:
            _show_corrections(store, store.meter(meter or "").meter, begin, end, as_json=as_json)
        elif meter is not None and not as_csv and parquet is None:
            _show(store.profiles.table(store.meter(meter).meter, start=begin, end=end), as_json=as_json)
        elif not (as_csv or parquet):
            raise ConfigurationError("all meters: as a file, with --csv or --parquet; or name one METER")
        else:
            meters = [store.meter(meter).meter] if meter else store.registry(retired=True)
            through = progress(meters, what="meters", total=len(meters))
            _write(store.profiles.together(through, start=begin, end=end), parquet)


def _ms(begin: datetime | None, end: datetime | None) -> tuple[int, int]:
    end = end or datetime.now(UTC)
    return at_ms(begin or end - USUAL), at_ms(end)


def _write(table: Table, parquet: Path | None) -> None:
    if parquet is not None:
        note(f"{write_parquet(table, parquet)} rows in {parquet}")
    else:
        write_csv(table, sys.stdout)


def _show(table: Table, *, as_json: bool) -> None:
    rows = [dict(zip(table.fields, row, strict=True)) for row in table.rows]
    if as_json:
        rows = [{**row, "start": moment(row["start"]), "end": moment(row["end"])} for row in rows]
    else:
        rows = [_for_people(row) for row in rows]
    show(rows, as_json=as_json, empty="no interval in this time that is over", spare=_SPARE)


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    """One column for the marks: most registers have the same."""
    marks = {name: value for name, value in row.items() if name.endswith("_mark")}
    mark = next(iter(marks.values()))
    told = [
        mark,
        *(f"{name.removesuffix('_mark')}: {other}" for name, other in marks.items() if other != mark),
    ]
    values = {name: value for name, value in row.items() if name in _PLAIN and name not in _OF_ROW}
    return {"start": moment(row["start"]), **values, "mark": ", ".join(told), "version": row["version"]}


def _show_corrections(store: Store, meter: Meter, begin: int, end: int, *, as_json: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "start": moment(one.start),
            "version": one.version,
            "corrected": moment(one.ts),
            "why": one.why,
            "before": json.loads(one.before) if as_json else one.before,
        }
        for one in store.profiles.corrections(meter, start=begin, end=end)
    ]
    show(rows, as_json=as_json, empty="nothing was corrected in this time")
