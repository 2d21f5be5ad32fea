"""``meter61850 tariffs``: the calendar of tariffs, and the energy of each tariff from the load profiles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.commands.energy import By, periods_of
from admin.forms import Csv, Parquet, check_form, show_periods, write_file
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import line, note, progress, show, show_one
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.store.period_sums import EXPORT, IMPORT
from bridge.store.profile_table import MARKS
from bridge.store.tariff_energy import any_exports, fields_of, tariff_energy
from bridge.store.tariffs import EXAMPLE, Tariffs, load

AHEAD = timedelta(days=400)
"""So far `now` looks for the next change."""
_LEGEND = "in Wh; then the numbers of intervals by their marks"

TariffFile = Annotated[
    Path,
    typer.Option(
        "--tariffs",
        envvar="METER61850_TARIFFS",
        metavar="FILE",
        show_default=False,
        help="The calendar of tariffs: `meter61850 tariffs example` explains it.",
    ),
]

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Energy by tariff, and the tariffs' calendar.\n\n\b\nmeter61850 tariffs example > tariffs.toml",
)


@app.command()
def example() -> None:
    """Print an example of the calendar's file that explains every key.

    \b
    meter61850 tariffs example > tariffs.toml
    """
    for text in EXAMPLE.read_text(encoding="utf-8").splitlines():
        line(text)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The file that METER61850_TARIFFS names.")],
    as_json: Json = False,
    time_zone: TimeZone = None,
) -> None:
    """Check the calendar's file: its versions, and the hours of each tariff in a week of each season.

    Of a week without holidays. Exit 2 if the file is wrong; the message names version, row, key and value,
    and what would be right.

    \b
    meter61850 tariffs check tariffs.toml
    """
    tariffs = load(file, zone=time_zone)
    if not as_json:
        count = len(tariffs.versions)
        zone = tariffs.calendar.zone or "the time zone of this machine"
        named = ", ".join(f"{tariff} {tariffs.newest_name(tariff)}".strip() for tariff in tariffs.tariffs)
        note(f"{file}: {count} version{'s' if count > 1 else ''}; {named}; {zone}")
        note("hours in a week without holidays")
    show(_weeks(tariffs), as_json=as_json)


def _weeks(tariffs: Tariffs) -> list[dict[str, Any]]:
    return [
        {
            "from": str(version.first),
            "until": str(following.first - timedelta(days=1)) if following else None,
            "season": "all year" if week.is_all_year else f"{week.first} to {week.last}",
            **{tariff: week.hours.get(tariff) for tariff in tariffs.tariffs},
            "holidays": len(version.holidays),
        }
        for version, following in pairwise((*tariffs.versions, None))
        if version is not None
        for week in tariffs.weeks(version)
    ]


@app.command()
def now(tariffs: TariffFile, as_json: Json = False, time_zone: TimeZone = None) -> None:
    """Print the tariff in force, and when it changes.

    \b
    meter61850 tariffs now --tariffs tariffs.toml
    """
    calendar = load(tariffs, zone=time_zone)
    moment = datetime.now(UTC)
    current, *later = islice(calendar.changes(moment, moment + AHEAD), 2)
    row: dict[str, Any] = {"tariff": current.tariff, "name": calendar.name(current.tariff, moment)}
    for change in later:
        local = f"{calendar.calendar.local(change.at):%Y-%m-%d %H:%M %Z}"
        row |= {"until": change.at if as_json else local, "next": change.tariff}
    if not later:
        note(f"no change in the next {AHEAD.days} days")
    show_one({"until": None, "next": None, **row} if as_json else row, as_json=as_json)


@app.command()
def energy(
    tariffs: TariffFile,
    meter: Annotated[
        str | None, typer.Argument(metavar="METER", show_default=False, help="Default: all meters.")
    ] = None,
    by: Annotated[By, typer.Option(help="A row for each local day or month.")] = By.MONTH,
    from_: From = None,
    until: Until = None,
    month: Month = None,
    as_csv: Csv = False,
    parquet: Parquet = None,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print the energy of each tariff in each month or day, in Wh.

    From the load profiles: an interval belongs to the tariff in force at its begin. Only periods that are
    over and lie within the range, by default the last 400 days, with --by day the last 32, and not before
    the first version of the calendar. The tariffs' times are of the time zone in the file; days and months
    are of --time-zone, or else of the file.

    \b
    meter61850 tariffs energy --tariffs tariffs.toml --month 2026-11
    meter61850 tariffs energy --tariffs tariffs.toml "House 1" --by day --from 14d
    meter61850 tariffs energy --tariffs tariffs.toml --from 2026-01-01 --csv > tariffs.csv
    """
    check_form(as_csv=as_csv, as_json=as_json, parquet=parquet)
    told = load(tariffs, zone=time_zone)
    calendar = calendar_of(time_zone) if time_zone else told.calendar
    begin, end = span(from_, until, month, calendar=calendar)
    periods = periods_of(calendar, by, begin, end)
    if begin is None:
        periods = [period for period in periods if period.start >= told.begin]
    with open_store(database) as store:
        meters = [store.meter(meter).meter] if meter else store.registry(retired=True)
        through = progress(meters, what="meters", total=len(meters))
        export = any_exports(store.profiles, meters, periods)
        table = tariff_energy(store.profiles, through, periods, told, export=export)
        if as_csv or parquet is not None:
            write_file(table, parquet)
        else:
            names = ("period", *fields_of((IMPORT, EXPORT) if export else (IMPORT,), told.tariffs))
            show_periods(
                table, as_json=as_json, names=(*names, *MARKS), legend=_LEGEND, spare=reversed(MARKS)
            )
