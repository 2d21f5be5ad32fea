"""``meter61850 suspicions``: houses that are worth a look, with the reason in words and figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from admin.commands.losses import NO_TOPOLOGY, rows_of
from admin.forms import Csv, check_form, write_file
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import note, show, waiting
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.losses.nodes import chosen, nodes_of
from bridge.losses.report import suspicions as suspicions_of
from bridge.store.tables import at_ms

_USUAL = timedelta(days=31)

app = new_app(rich_markup_mode=None)


@app.command()
def suspicions(
    feeder: Annotated[
        str | None,
        typer.Option(metavar="PATH", show_default=False, help="Such as Mill/LV/T1_F1; default: all of them."),
    ] = None,
    from_: From = None,
    until: Until = None,
    month: Month = None,
    as_csv: Csv = False,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print which houses are worth a look: by which rule, since when, on how many intervals it rests.

    A row is no accusation, and leads to no action: it says what the load profiles show, and what else that
    can be. By default of the last 31 days; some rules need two weeks. docs/losses.md explains the rules.

    \b
    meter61850 suspicions
    meter61850 suspicions --feeder Mill/LV/T1_F1 --month 2026-11
    meter61850 suspicions --since 60d --csv > look.csv
    """
    check_form(as_csv=as_csv, as_json=as_json, parquet=None)
    calendar = calendar_of(time_zone)
    begin, end = span(from_, until, month, calendar=calendar)
    last = min(end or datetime.now(UTC), datetime.now(UTC))
    start, stop = at_ms(begin or last - _USUAL), at_ms(last)
    with open_store(database) as store, waiting("feeders"):
        nodes = nodes_of(store)
        chosen(nodes, feeder)
        table = suspicions_of(store, nodes, calendar, start=start, end=stop, path=feeder)
        if as_csv:
            write_file(table, None)
            return
        rows = rows_of(table)
    if not as_json:
        note("worth a look; each row has other explanations, too")
        rows = [
            {
                "meter": row["name"] or row["meter_id"],
                "rule": row["rule"],
                "since": row["since"],
                "intervals": row["intervals"],
                "feeder": row["feeder"],
                "reason": f"{row['reason']} It can also be: {row['otherwise']}.",
            }
            for row in rows
        ]
    show(rows, as_json=as_json, empty="nothing" if nodes else NO_TOPOLOGY, spare=("feeder", "intervals"))
