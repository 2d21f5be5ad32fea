"""``meter61850 energy``: energy of local days or months, from the registers at their boundaries."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
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
from bridge.store.export import Table, write_csv, write_parquet
from bridge.store.registers import energy as energy_of
from bridge.store.tables import Meter, moment
from broker.calendar import Calendar, Period
from broker.contract.errors import ConfigurationError


class By(StrEnum):
    """The length of a period."""

    DAY = "day"
    MONTH = "month"


_USUAL = {By.DAY: timedelta(days=32), By.MONTH: timedelta(days=400)}
"""That are shown without --from and --month."""
_SHOWN = ("energy_used", "register_start", "register_end", "energy_export", "export_start", "export_end")
"""Columns for people, in Wh; those without any value are left out."""

app = new_app(rich_markup_mode=None)


@app.command()
def energy(
    meter: Annotated[
        str | None, typer.Argument(metavar="METER", show_default=False, help="Default: all meters.")
    ] = None,
    by: Annotated[By, typer.Option(help="A row for each local day or month.")] = By.DAY,
    from_: From = None,
    until: Until = None,
    month: Month = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Write a Parquet file.")
    ] = None,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print the energy of each day or month in Wh, with the registers at its begin and end.

    Only periods that are over and lie within the range, by default the last 32 days, with --by month the last
    400 days. Marks name registers that are missing: docs/operations-store.md explains them.

    \b
    meter61850 energy --month 2026-11
    meter61850 energy --by month --from 2026-01-01 --csv > energy.csv
    meter61850 energy "House 1" --from 7d --time-zone Europe/Zurich
    """
    if as_csv + as_json + (parquet is not None) > 1:
        raise ConfigurationError("--csv, --parquet and --json: choose one")
    calendar = calendar_of(time_zone)
    begin, end = span(from_, until, month, calendar=calendar)
    periods = periods_of(calendar, by, begin, end)
    with open_store(database) as store:
        meters = [store.meter(meter).meter] if meter else store.registry(retired=True)

        def bar(of: Iterable[Meter]) -> Iterator[Meter]:
            return progress(of, what="meters", total=len(meters))

        _write(
            energy_of(store, meters, periods, through=bar), as_csv=as_csv, parquet=parquet, as_json=as_json
        )


def periods_of(calendar: Calendar, by: By, begin: datetime | None, end: datetime | None) -> list[Period]:
    """The whole ones in the range that are over."""
    now = datetime.now(UTC)
    end = min(end or now, now)
    begin = begin if begin is not None else end - _USUAL[by]
    return list(calendar.days(begin, end) if by is By.DAY else calendar.months(begin, end))


def _write(table: Table, *, as_csv: bool, parquet: Path | None, as_json: bool) -> None:
    if as_csv:
        write_csv(table, sys.stdout)
    elif parquet is not None:
        note(f"{write_parquet(table, parquet)} rows in {parquet}")
    else:
        rows = list(table.documents())
        if as_json:
            rows = [{**row, "start": moment(row["start"]), "end": moment(row["end"])} for row in rows]
        else:
            rows = _for_people(rows)
            note("in Wh; docs/operations-store.md explains the marks")
        show(rows, as_json=as_json, empty="no whole period in this time", spare=reversed(_SHOWN[1:]))


def _for_people(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    shown = [name for name in _SHOWN if any(row[name] is not None for row in rows)]
    return [
        {
            "meter": row["name"] or row["meter_id"],
            "period": row["period"],
            **{name: row[name] for name in shown},
            "marks": row["marks"],
        }
        for row in rows
    ]
