"""``meter61850 credit``: adjustments, what waits for a person, statements, and the look at the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from admin.commands.credit_options import Amount, CreditPath, Reason, TariffsPath, amount_of, by, opened
from admin.exits import ExitCode
from admin.options import DATABASE, Database, Json, Meter
from admin.output import line, note, show, show_one
from admin.stores import open_store
from admin.times import POINT, point
from bridge.credit import documents
from bridge.credit.invariants import findings
from bridge.credit.statement import statement as statement_of
from bridge.credit.waiting import decide as decided
from bridge.credit.waiting import waiting as waiting_of
from bridge.store import database as databases
from bridge.store.tables import at_ms
from broker.contract.errors import ConfigurationError

START = "Begin of the interval, as `waiting` shows it: a time with its zone, or local."


def adjust(
    meter: Meter,
    amount: Amount,
    reason: Reason,
    as_json: Json = False,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
) -> None:
    """Add to a balance, or take from it with an amount below zero (after --).

    \b
    meter61850 credit adjust "House 1" 5.00 --reason "read at the door"
    meter61850 credit adjust --reason "paid back" -- "House 1" -5.00
    """
    with opened(database, credit, tariffs, meter) as it:
        balance = it.accounts.adjust(it.meter_id, amount_of(amount, it.credit), reason=reason, by=by())
        row = {"balance": it.credit.text(balance), "currency": it.credit.file.currency}
        show_one(row, as_json=as_json)


def waiting(
    meter: Annotated[
        str | None, typer.Argument(metavar="METER", show_default=False, help="Default: all meters.")
    ] = None,
    as_json: Json = False,
    database: Database = DATABASE,
) -> None:
    """List the intervals that are estimated or missing: they cost nothing until a person decides.

    Energy is what is known of the interval, in Wh. One that becomes known after all is booked, and waits no
    more.

    \b
    meter61850 credit waiting
    meter61850 credit waiting "House 1" --json
    """
    with open_store(database) as store:
        meter_id = store.meter(meter).meter.meter_id if meter else None
    with databases.opened(database) as engine, engine.connect() as connection:
        rows = [documents.waiting(one) for one in waiting_of(connection, meter_id)]
    if not as_json:
        rows = [
            {"meter": row["name"] or row["meter_id"], **{name: row[name] for name in row if name in _SHOWN}}
            for row in rows
        ]
    show(rows, as_json=as_json, empty="nothing waits", spare=("end",))


_SHOWN = frozenset({"start", "end", "mark", "energy"})


def decide(
    meter: Meter,
    start: Annotated[str, typer.Argument(metavar="START", help=START)],
    reason: Reason,
    costs: Annotated[
        bool | None,
        typer.Option("--cost/--free", show_default=False, help="It costs what is known of it, or nothing."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", show_default=False, help=f"All that wait before this: {POINT}"),
    ] = None,
    as_json: Json = False,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
) -> None:
    """Decide what a waiting interval costs: what is known of it, or nothing.

    \b
    meter61850 credit decide "House 1" 2026-11-23T12:00Z --free --reason "fire brigade"
    meter61850 credit decide "House 1" 2026-11-23 --until 2026-11-24 --cost --reason "as estimated"
    """
    if costs is None:
        raise ConfigurationError("--cost or --free: choose one")
    with opened(database, credit, tariffs, meter) as it:
        calendar = it.credit.calendar
        begin = at_ms(point(start, option="START", calendar=calendar))
        end = at_ms(point(until, option="--until", calendar=calendar)) if until else begin + 1
        found = decided(
            *(it.engine, it.prices, it.meter_id),
            start=begin,
            end=end,
            costs=costs,
            reason=reason,
            by=by(),
        )
        show_one(documents.decided(it.credit, found), as_json=as_json)


def statement(
    meter: Meter,
    month: Annotated[str, typer.Argument(metavar="YYYY-MM", help="A local month.")],
    as_json: Json = False,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
) -> None:
    """Show a month of an account: opening balance, energy of each tariff, payments, closing balance.

    Energy is in Wh. A line is late if it is of an earlier month, and came after its statement was final.

    \b
    meter61850 credit statement "House 2" 2026-11
    """
    with opened(database, credit, tariffs, meter) as it, it.engine.connect() as connection:
        found = statement_of(connection, it.credit, it.meter_id, month, now=datetime.now(UTC))
        row = documents.statement(it.credit, found)
    if as_json:
        show_one(row, as_json=True)
        return
    lines = row.pop("lines")
    show_one({"meter": row.pop("name") or row["meter_id"], **row}, as_json=False)
    line("")
    show(lines, as_json=False, empty="nothing was booked")


def audit(as_json: Json = False, database: Database = DATABASE) -> None:
    """Look whether the ledger is right; exit 1 if it is not.

    Every transaction is zero, every balance is the sum of its entries, and what intervals have cost was
    booked once.

    \b
    meter61850 credit audit
    """
    with databases.opened(database) as engine, databases.snapshot(engine) as connection:
        found = [{"finding": finding} for finding in findings(connection)]
    if not found and not as_json:
        note("the ledger is right")
        return
    show(found, as_json=as_json)
    if found:
        raise typer.Exit(ExitCode.FAILURE)
