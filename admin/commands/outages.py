"""``meter61850 outages``: outages of feeders, how sure they are, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from admin.forms import Csv, check_form, write_file
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import progress, show
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.store.export import Table
from bridge.store.outages import LEAST, MOMENTARY_MINUTES
from bridge.store.queries import Store
from bridge.store.supply_table import Reliability, Supply
from bridge.store.tables import at_ms, moment
from broker.calendar import Calendar

Least = Annotated[int, typer.Option(min=2, help="Meters of a feeder that make an outage.")]
FIELDS = ("feeder", "start", "end", "minutes", "sure", "reason", "meter_names")
"""Of CSV."""

app = new_app(rich_markup_mode=None)


@app.command()
def outages(
    from_: From = None,
    until: Until = None,
    month: Month = None,
    least: Least = LEAST,
    as_csv: Csv = False,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Print the outages that began in a time, by default in this month, with the reason and how sure each is.

    An outage is when several meters of a feeder went silent at the same time and took no readings meanwhile;
    one meter alone is its communications, or that house. What is doubtful counts nowhere. docs/supply.md
    has the rules.

    \b
    meter61850 outages
    meter61850 outages --month 2026-11 --csv > outages.csv
    """
    check_form(as_csv=as_csv, as_json=as_json, parquet=None)
    with open_store(database) as store:
        found = reliability_of(store, from_, until, month, calendar=calendar_of(time_zone), least=least)
    rows = [told | {"meters": [one.name or one.meter_id for one in own]} for told, own in found.rows()]
    if as_csv:
        write_file(
            Table(FIELDS, ((*list(row.values())[:-1], "; ".join(row["meters"])) for row in rows)), None
        )
        return
    for row in rows:
        row |= {name: moment(row[name]) for name in ("start", "end") if row[name] is not None}
    shown = rows if as_json else [_for_people(row) for row in rows]
    show(shown, as_json=as_json, empty="no outage began in this time", spare=("meters", "end"))


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"meters": len(row["meters"])}


def reliability_of(
    store: Store,
    from_: str | None,
    until: str | None,
    month: str | None,
    *,
    calendar: Calendar,
    least: int,
    momentary: float = MOMENTARY_MINUTES,
) -> Reliability:
    """Of a time; by default of the month that runs."""
    now = datetime.now(UTC)
    begin, end = span(from_, until, month, calendar=calendar)
    end = end or now
    begin = begin or calendar.month(f"{calendar.local(end):%Y-%m}")[0]
    total = len(store.registry(retired=True))
    return Supply(store.engine).reliability(
        start=at_ms(begin),
        end=at_ms(end),
        now=at_ms(now),
        least=least,
        momentary=momentary,
        through=lambda meters: progress(meters, what="meters", total=total),
    )
