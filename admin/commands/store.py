"""``meter61850 store``: upkeep of the database by hand, check, backup and restore."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from admin.exits import ExitCode
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, Keep
from admin.output import note, progress, show_one, waiting
from admin.stores import open_store
from admin.times import From, Month, TimeZone, Until, calendar_of, span
from bridge.credit.rounds import rounds
from bridge.settings import BridgeSettings
from bridge.store import database as databases
from bridge.store.backup import back_up
from bridge.store.check import check as checked
from bridge.store.due import due_again
from bridge.store.restore import restore as restored
from bridge.store.tables import at_ms
from bridge.store.upkeep import Done, Policy, upkeep
from broker.contract.errors import ConfigurationError, UnavailableError

app = new_app(no_args_is_help=True, rich_markup_mode=None, help="Upkeep, check and backup of the database.")


@app.command()
def maintain(
    once: Annotated[
        bool, typer.Option("--once", help="One round, then end; default: a round every five minutes.")
    ] = False,
    keep: Keep = None,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """Roll up hours and days, pack old readings, delete readings older than --keep.

    The bridge does this automatically. Use this command if the bridge does not run, or at a time that you
    choose. It may run beside the bridge, and may be interrupted at any moment.

    \b
    meter61850 store maintain --once
    meter61850 store maintain --once --keep 400d
    """
    settings = BridgeSettings.model_validate({"database_url": database, "keep": keep})
    kept, minutes = (settings.keep, settings.pack_after, settings.clock_kept), settings.interval_minutes
    policy = Policy(*kept, minutes, settings.bands, rounds())
    with databases.opened(database) as engine:
        while True:
            done = upkeep(engine, policy, now=time.time_ns() // 1_000_000)
            if done is None and once:
                raise UnavailableError("another process does the upkeep of this database just now")
            if once or done not in (None, Done()):
                show_one(asdict(done or Done()), as_json=as_json)
            if once:
                return
            time.sleep(settings.upkeep_seconds)


@app.command()
def recompute(
    meter: Annotated[
        str | None, typer.Argument(metavar="METER", show_default=False, help="Default: all meters.")
    ] = None,
    from_: From = None,
    until: Until = None,
    month: Month = None,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Have hours, days and load profiles of a time computed again from the readings that are still there.

    The bridge does it after its other upkeep, days of 2,000 meters in each round of five minutes; without a
    bridge each `store maintain --once` does. After an upgrade this makes the load profiles of the time
    before. Hours whose readings were deleted stay as they are.

    \b
    meter61850 store recompute --month 2026-11
    meter61850 store recompute "House 1" --from 7d
    """
    begin, end = span(from_, until, month, calendar=calendar_of(time_zone))
    if begin is None:
        raise ConfigurationError("from when? name --from or --month")
    with open_store(database) as store:
        key = store.meter(meter).meter.key if meter else None
    with databases.opened(database) as engine, databases.alone(engine) as connection:
        hours = due_again(connection, start=at_ms(begin), end=at_ms(end or datetime.now(UTC)), meter=key)
    show_one({"hours": hours}, as_json=as_json)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    database: Database = DATABASE,
) -> None:
    """Copy a SQLite database into FILE while the bridge runs; for PostgreSQL print the command.

    `meter61850 store restore FILE` puts it back in place (docs/operations-store.md).

    \b
    meter61850 store backup monday.sqlite
    """
    with waiting("copying and checking"):
        size = back_up(database, file)
    show_one({"file": str(file), "bytes": size}, as_json=False)


@app.command()
def check(as_json: Json = False, database: Database = DATABASE) -> None:
    """Look at the whole database, and exit 1 if something is wrong; it changes nothing.

    It reads every page (SQLite), counts every table, looks for rows of unknown meters, decodes every pack
    and load profile, and follows the chain of the audit. The bridge may run meanwhile.

    \b
    meter61850 store check
    """
    with databases.opened(database) as engine:

        def bar(keys: Sequence[int]) -> Iterator[int]:
            return progress(keys, what="looking at packs of meters", total=len(keys))

        report = checked(engine, through=bar)
    show_one(
        {**report.counts, "findings": report.findings if as_json else len(report.findings)}, as_json=as_json
    )
    for finding in report.findings:
        note(finding)
    if report.findings:
        raise typer.Exit(ExitCode.FAILURE)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `store backup` wrote.")],
    database: Database = DATABASE,
    as_json: Json = False,
) -> None:
    """Replace a SQLite database with a backup; the old database is kept beside it.

    Stop bridge, web and registrar first. If a process has the database open, the command names it and
    changes nothing. For PostgreSQL it prints the command.

    \b
    meter61850 store restore monday.sqlite
    """
    with waiting("checking and copying"):
        done = restored(database, file)
    kept = str(done.kept) if done.kept else None
    show_one({"database": str(done.database), "bytes": done.bytes, "kept": kept}, as_json=as_json)
    note("the audit's head is newer than a backup: see Backup and restore in docs/operations-store.md")
