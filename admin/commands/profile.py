"""``meter61850 profile``: interval values of meters, with their marks, versions and corrections."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.forms import write_file
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import progress, show
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.store.profile_table import Profiles
from bridge.store.profile_texts import TEXTS
from bridge.store.queries import Store
from bridge.store.tables import Meter, at_ms, moment
from broker.calendar import Calendar
from broker.contract.errors import ConfigurationError

USUAL = timedelta(hours=24)
FOR_ONE = ("", "json")
"""Forms that are of one meter; the others are files."""
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
    nem12: Annotated[bool, typer.Option("--nem12", help="Print NEM12, whole days of standard time.")] = False,
    green_button: Annotated[
        bool, typer.Option("--green-button", help="Print Green Button XML, with the registers at midnights.")
    ] = False,
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
    meter61850 profile --month 2026-11 --nem12 > november.csv
    meter61850 profile "House 1" --from 7d --corrections
    """
    form = _form(csv=as_csv, parquet=bool(parquet), nem12=nem12, green_button=green_button, json=as_json)
    if corrections and (meter is None or form not in FOR_ONE):
        raise ConfigurationError("--corrections: of one METER, as a table or --json")
    calendar = calendar_of(time_zone)
    time = _usual(*span(from_, until, month, calendar=calendar))
    with open_store(database) as store:
        if form not in FOR_ONE:
            meters = [store.meter(meter).meter] if meter else store.registry(retired=True)
            through = progress(meters, what="meters", total=len(meters))
            _write(store.profiles, through, time, form, parquet=parquet, calendar=calendar)
        elif meter is None:
            raise ConfigurationError("all meters: as a file, with --csv or --parquet; or name one METER")
        else:
            show_one = _show_corrections if corrections else _show
            show_one(store, store.meter(meter).meter, *map(at_ms, time), as_json=as_json)


def _form(**asked: bool) -> str:
    """The one that is asked for; empty: a table."""
    chosen = [name for name, is_asked in asked.items() if is_asked]
    if len(chosen) > 1:
        raise ConfigurationError("--csv, --parquet, --nem12, --green-button and --json: choose one")
    return chosen[0] if chosen else ""


def _usual(begin: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    end = end or datetime.now(UTC)
    return begin or end - USUAL, end


def _write(
    profiles: Profiles,
    meters: Iterable[Meter],
    time: tuple[datetime, datetime],
    form: str,
    *,
    parquet: Path | None,
    calendar: Calendar,
) -> None:
    start, end = time
    if form in TEXTS:
        TEXTS[form](profiles, meters, sys.stdout, start=start, end=end, calendar=calendar)
    else:
        write_file(profiles.together(meters, start=at_ms(start), end=at_ms(end)), parquet)


def _show(store: Store, meter: Meter, begin: int, end: int, *, as_json: bool) -> None:
    table = store.profiles.table(meter, start=begin, end=end)
    rows = list(table.documents())
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
