"""``meter61850 losses``: what feeders and transformers were supplied with, less what their houses used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import typer

from admin.commands.energy import By, periods_of
from admin.forms import Csv, check_form, write_file
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import note, progress, show
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.losses.nodes import chosen, nodes_of
from bridge.losses.report import intervals
from bridge.losses.report import losses as losses_of
from bridge.store.export import TIMES, Table
from bridge.store.tables import at_ms, moment

NO_TOPOLOGY = "no feeders: METER61850_TOPOLOGY of the bridge names a file that has them"
_SPARE = (
    "measured",
    "interpolated",
    "estimated",
    "houses",
    "end",
    "missing",
    "intervals",
    "known",
    "loss_other",
)
_HIDDEN = {"end", "start"}

app = new_app(rich_markup_mode=None)


class Step(StrEnum):
    """What a row is of."""

    INTERVAL = "interval"
    DAY = "day"
    MONTH = "month"


@app.command()
def losses(
    feeder: Annotated[
        str | None,
        typer.Option(metavar="PATH", show_default=False, help="Such as Mill/LV/T1_F1; default: all of them."),
    ] = None,
    by: Annotated[Step, typer.Option(help="A row for each interval, local day or local month.")] = Step.MONTH,
    from_: From = None,
    until: Until = None,
    month: Month = None,
    as_csv: Csv = False,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print supply, use and loss in Wh of each feeder and transformer that the topology file names.

    The loss is what its own meter has measured less what all of its houses have, in the intervals in which
    all of them are known ("balanced"). Only days and months that are over, by default of the last 400 days,
    with --by day of the last 32; intervals of the last 24 hours. docs/losses.md explains the columns.

    \b
    meter61850 losses --month 2026-11
    meter61850 losses --feeder Mill/LV/T1_F1 --by day --since 14d
    meter61850 losses --by interval --since 2026-11-23 --until 2026-11-24 --csv
    """
    check_form(as_csv=as_csv, as_json=as_json, parquet=None)
    calendar = calendar_of(time_zone)
    begin, end = span(from_, until, month, calendar=calendar)
    with open_store(database) as store:
        found = chosen(nodes_of(store), feeder)
        nodes = progress(found, what="feeders", total=len(found))
        if by is Step.INTERVAL:
            last = end or datetime.now(UTC)
            start, stop = at_ms(begin or last - timedelta(days=1)), at_ms(last)
            table = intervals(store, nodes, start=start, end=stop)
        else:
            table = losses_of(store, nodes, periods_of(calendar, By(by.value), begin, end))
        if as_csv:
            write_file(table, None)
        else:
            _show(table, as_json=as_json, empty="nothing in this time" if found else NO_TOPOLOGY)


def rows_of(table: Table) -> list[dict[str, Any]]:
    """As documents, with times."""
    rows = list(table.documents())
    return [row | {name: moment(row[name]) for name in TIMES & row.keys()} for row in rows]


def _show(table: Table, *, as_json: bool, empty: str) -> None:
    rows = rows_of(table)
    if not as_json:
        note("energy and loss in Wh; coverage in %; then the numbers of the houses' intervals by their marks")
        hidden = _HIDDEN if "period" in table.fields else {"end"}
        rows = [{name: value for name, value in row.items() if name not in hidden} for row in rows]
    show(rows, as_json=as_json, empty=empty, spare=_SPARE)
