"""``meter61850 registers``: raw and corrected registers at local midnights and ends of months."""

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
from bridge.store.export import Table
from bridge.store.profile_steps import REGISTERS
from bridge.store.register_table import narrowed, register_table

_LEGEND = "corrected registers in Wh since the first interval; raw is what the meter showed"
_SPARE = ("version", "reactive_export_raw", "reactive_import_raw", "reactive_export", "reactive_import")

app = new_app(rich_markup_mode=None)


@app.command()
def registers(
    meter: Annotated[
        list[str] | None,
        typer.Argument(metavar="[METER]...", show_default=False, help="Default: all meters."),
    ] = None,
    by: Annotated[By, typer.Option(help="At each local midnight, or at each end of a month.")] = By.DAY,
    from_: From = None,
    until: Until = None,
    month: Month = None,
    as_csv: Csv = False,
    parquet: Parquet = None,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print the registers of meters at each local midnight or end of a month, raw and corrected, in Wh.

    Corrected registers never fall: they add up the load profile since the meter's first interval, over resets
    and replacements. Only times in the range that are over, by default the last 32 days, with --by month the
    last 400 days. docs/exports.md explains marks and versions.

    \b
    meter61850 registers "House 1" --month 2026-11
    meter61850 registers --by month --from 2026-01-01 --csv > registers.csv
    meter61850 registers "House 1" "House 2" --from 7d --json
    """
    check_form(as_csv=as_csv, as_json=as_json, parquet=parquet)
    calendar = calendar_of(time_zone)
    periods = periods_of(calendar, by, *span(from_, until, month, calendar=calendar))
    with open_store(database) as store:
        meters = [store.meter(name).meter for name in meter] if meter else store.registry(retired=True)
        through = progress(meters, what="meters", total=len(meters))
        table = register_table(store, through, periods, calendar)
        if as_csv or parquet is not None:
            write_file(table, parquet)
        else:
            table = narrowed(table)
            names = _shown(table)
            show_periods(table, as_json=as_json, names=names, legend=_LEGEND, spare=_SPARE)


def _shown(table: Table) -> tuple[str, ...]:
    """For people: the mark of imported energy alone."""
    registers = [name for name in REGISTERS if name in table.fields]
    return ("date", *registers, "energy_import_mark", *(f"{name}_raw" for name in registers), "version")
