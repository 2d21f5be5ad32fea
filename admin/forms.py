"""The forms in which a command gives a table of many meters: CSV, Parquet, JSON, or a table for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.output import note, show
from bridge.store.export import TIMES, Table, write_csv, write_parquet
from bridge.store.tables import moment
from broker.contract.errors import ConfigurationError

Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
Parquet = Annotated[
    Path | None, typer.Option(metavar="FILE", show_default=False, help="Write a Parquet file.")
]


def check_form(*, as_csv: bool, as_json: bool, parquet: Path | None) -> None:
    """ConfigurationError if there is more than one."""
    if as_csv + as_json + (parquet is not None) > 1:
        raise ConfigurationError("--csv, --parquet and --json: choose one")


def write_file(table: Table, parquet: Path | None) -> None:
    """As a Parquet file, or as CSV on stdout."""
    if parquet is not None:
        note(f"{write_parquet(table, parquet)} rows in {parquet}")
    else:
        write_csv(table, sys.stdout)


def show_periods(
    table: Table,
    *,
    as_json: bool,
    names: Sequence[str],
    legend: str,
    spare: Iterable[str],
) -> None:
    """Rows of local periods on stdout: all fields as JSON; for people the meter, and those of ``names``."""
    rows = list(table.documents())
    for row in rows:
        row |= {name: moment(row[name]) for name in TIMES & row.keys() if row[name] is not None}
    if not as_json:
        rows = [_for_people(row, names) for row in rows]
        note(legend)
    show(rows, as_json=as_json, empty="no whole period in this time", spare=spare)


def _for_people(row: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {"meter": row["name"] or row["meter_id"], **{name: row[name] for name in names}}
