"""``meter61850 reliability``: SAIDI, SAIFI and CAIDI of each feeder and in total, after IEEE 1366."""

from __future__ import annotations

from typing import Annotated

import typer

from admin.commands.outages import Least, reliability_of
from admin.forms import Csv, check_form, write_file
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import note, show
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of
from bridge.store.outages import LEAST, MOMENTARY_MINUTES

app = new_app(rich_markup_mode=None)


@app.command()
def reliability(
    from_: From = None,
    until: Until = None,
    month: Month = None,
    momentary: Annotated[
        float, typer.Option(min=0, max=1440, help="Minutes up to which an interruption is left out.")
    ] = MOMENTARY_MINUTES,
    least: Least = LEAST,
    as_csv: Csv = False,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print SAIDI, SAIFI and CAIDI of each feeder and in total, by default of the month that runs.

    Minutes and interruptions of a customer on average (IEEE 1366), from the outages that `outages` shows;
    doubtful ones are numbers only. Feeders are those of the topology file.

    \b
    meter61850 reliability --month 2026-11
    meter61850 reliability --from 2026-01-01 --csv > reliability.csv
    """
    check_form(as_csv=as_csv, as_json=as_json, parquet=None)
    with open_store(database) as store:
        found = reliability_of(
            store, from_, until, month, calendar=calendar_of(time_zone), least=least, momentary=momentary
        )
    table = found.table()
    if as_csv:
        write_file(table, None)
        return
    if not as_json:
        note("SAIDI and CAIDI in minutes; indicative: from silent meters (docs/supply.md)")
    show(list(table.documents()), as_json=as_json)
