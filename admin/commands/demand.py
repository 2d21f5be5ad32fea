"""``meter61850 demand``: energy and maximum demand of local days or months, from the load profiles."""

from __future__ import annotations

from typing import Annotated

import typer

from admin.commands.energy import By, periods_of
from admin.forms import Csv, Parquet, check_form, show_periods, write_file
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import progress
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.store.demand import demand as demand_of
from bridge.store.profile_table import MARKS

_SHOWN = ("period", "demand_max", "demand_at", "demand_mark", "energy_import", *MARKS)
_LEGEND = "energy in Wh, demand in W; then the numbers of intervals by their marks"
_SPARE = (*reversed(MARKS), "demand_mark", "energy_import")

app = new_app(rich_markup_mode=None)


@app.command()
def demand(
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
    """Print the maximum demand of each month or day in W, with its time, and the energy in Wh.

    Demand is the mean power of an interval of the load profile, a quarter of an hour by default. Only periods
    that are over and lie within the range, by default the last 400 days, with --by day the last 32. The
    numbers of measured, interpolated, estimated and missing intervals say how well it is known.

    \b
    meter61850 demand --month 2026-11
    meter61850 demand "House 1" --by day --from 14d
    meter61850 demand --from 2026-01-01 --csv > demand.csv
    """
    check_form(as_csv=as_csv, as_json=as_json, parquet=parquet)
    calendar = calendar_of(time_zone)
    periods = periods_of(calendar, by, *span(from_, until, month, calendar=calendar))
    with open_store(database) as store:
        meters = [store.meter(meter).meter] if meter else store.registry(retired=True)
        table = demand_of(store.profiles, progress(meters, what="meters", total=len(meters)), periods)
        if as_csv or parquet is not None:
            write_file(table, parquet)
        else:
            show_periods(table, as_json=as_json, names=_SHOWN, legend=_LEGEND, spare=_SPARE)
