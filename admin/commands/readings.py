"""``meter61850 readings``: what a meter measured, from the database."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, Meter, since
from admin.output import progress, show
from admin.stores import open_store
from bridge.packs import StoredReading
from bridge.tables import moment
from broker.errors import ConfigurationError
from broker.messages import format_ts

LAST = 20

app = new_app(rich_markup_mode=None)


@app.command()
def readings(
    meter: Meter,
    start: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="TIME", show_default=False, help="15m, 24h, 7d, or 2026-11-23T12:00 (UTC)."
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(min=1, show_default=False, help=f"Only the last so many; {LAST} unless --since says."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """Print a meter's readings, oldest first: V, A, W, power factor, Hz, Wh.

    \b
    meter61850 readings "House 1"
    meter61850 readings "House 1" --since 24h --csv > house-1.csv
    """
    if as_csv and as_json:
        raise ConfigurationError("--csv and --json: choose one")
    moment_since = since(start) if start else None
    if start is None and last is None:
        last = LAST
    with open_store(database) as store:
        found = store.meter(meter).meter
        stored = store.readings(found, since=moment_since, last=last)
        if as_csv:
            _print_csv(progress(stored, what="readings", total=last))
        else:
            show([_row(reading) for reading in stored], as_json=as_json, empty="no reading")


def _row(reading: StoredReading) -> dict[str, Any]:
    row = reading._asdict()
    return {"ts": moment(row.pop("ts")), **row}


def _print_csv(readings: Iterator[StoredReading]) -> None:
    """CSV on stdout; an absent quantity is an empty field."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("ts", *(name for name in StoredReading._fields if name != "ts")))
    for reading in readings:
        row = _row(reading)
        writer.writerow((format_ts(row.pop("ts")), *map(_csv, row.values())))


def _csv(value: object) -> object:
    """JSON's words for true and false."""
    return str(value).lower() if isinstance(value, bool) else value
