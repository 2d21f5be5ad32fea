"""``meter61850 quality``: the quality of supply of weeks, indicative after EN 50160."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from admin.forms import Csv, Parquet, check_form, show_periods, write_file
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import progress
from admin.stores import open_store
from admin.times import TimeZone, calendar_of
from bridge.store.supply_table import Supply
from broker.calendar import Calendar, Period
from broker.contract.errors import ConfigurationError

_SHOWN = (
    *("period", "voltage_judgement", "within_10", "voltage_lowest", "voltage_highest", "coverage"),
    *("frequency_within_1", "unbalance_95", "sags", "swells"),
)
_SPARE = ("swells", "unbalance_95", "frequency_within_1", "sags", "voltage_highest", "voltage_lowest")
_LEGEND = "indicative after EN 50160: the meters are not class A of IEC 61000-4-30; shares in percent, V"

app = new_app(rich_markup_mode=None)


@app.command()
def quality(
    meters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[METER]...", show_default=False, help="Default: all meters."),
    ] = None,
    week: Annotated[
        str | None,
        typer.Option(
            metavar="YYYY-Www", show_default=False, help="A local week; default: the last whole one."
        ),
    ] = None,
    as_csv: Csv = False,
    parquet: Parquet = None,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print the quality of supply of a week, indicative after EN 50160.

    Shares of the 10-minute means of voltage within 10 % of the nominal one, of the frequency within 1 %,
    unbalance, sags and swells, as far as the readings show them. --json and --csv have more, and each phase:
    docs/supply.md explains the fields.

    \b
    meter61850 quality
    meter61850 quality --week 2026-W48 "House 1" "House 2"
    meter61850 quality --week 2026-W48 --csv > quality.csv
    """
    check_form(as_csv=as_csv, as_json=as_json, parquet=parquet)
    period = _week(calendar_of(time_zone), week)
    with open_store(database) as store:
        own = [store.meter(name).meter for name in meters] if meters else store.registry(retired=True)
        table = Supply(store.engine).weeks(progress(own, what="meters", total=len(own)), [period])
        if as_csv or parquet is not None:
            write_file(table, parquet)
        else:
            show_periods(table, as_json=as_json, names=_SHOWN, legend=_LEGEND, spare=_SPARE)


def _week(calendar: Calendar, text: str | None) -> Period:
    if text is None:
        return calendar.week_before(datetime.now(UTC))
    try:
        return calendar.week(text)
    except ValueError as error:
        raise ConfigurationError(f"--week: {error}") from error
