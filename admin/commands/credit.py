"""``meter61850 credit``: accounts of meters, and payments; `admin.commands.credit_books` has the rest."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.commands import credit_books, credit_run
from admin.commands.credit_options import (
    Amount,
    CreditPath,
    Reason,
    TariffsPath,
    amount_of,
    by,
    opened,
    prices_of,
)
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json, Meter
from admin.output import line, note, show, show_one
from admin.times import POINT, point
from bridge.credit import documents
from bridge.credit.credit_file import EXAMPLE
from bridge.store.tables import at_ms

SPARE = ("lifeline", "prepaid", "booked_until", "waiting", "days_left")

app = new_app(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Credit of meters: accounts, payments, what energy costs, and what is cut for it.\n\n\b\n"
    "meter61850 credit example > credit.toml",
)


@app.command()
def example() -> None:
    """Print an example of the file of prices and limits that explains every key.

    \b
    meter61850 credit example > credit.toml
    """
    for text in EXAMPLE.read_text(encoding="utf-8").splitlines():
        line(text)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The file that METER61850_CREDIT names.")],
    tariffs: TariffsPath = None,
    as_json: Json = False,
) -> None:
    """Check the file of prices and limits, and show the prices.

    Every tariff of the tariffs' calendar must have a price. Exit 2 if the file is wrong.

    \b
    meter61850 credit check credit.toml --tariffs tariffs.toml
    """
    credit = prices_of(file, tariffs).credit
    show(list(documents.prices(credit)), as_json=as_json)


@app.command("open")
def open_(
    meter: Meter,
    prepaid: Annotated[
        bool, typer.Option("--prepaid/--postpaid", help="Postpaid: a statement, and no limits.")
    ] = True,
    lifeline: Annotated[bool, typer.Option("--lifeline", help="This meter is never cut.")] = False,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", show_default=False, help=f"Default: now. Else {POINT}"),
    ] = None,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
) -> None:
    """Open an account: energy from then on costs. If it is open, change what it is.

    \b
    meter61850 credit open "House 1"
    meter61850 credit open "House 2" --postpaid --from 2026-12-01
    meter61850 credit open "House 3" --lifeline
    """
    with opened(database, credit, tariffs, meter) as it:
        since = point(from_, option="--from", calendar=it.credit.calendar) if from_ else datetime.now(UTC)
        it.accounts.open(it.meter_id, by=by(), prepaid=prepaid, lifeline=lifeline, since=since)
        note(f"{it.name or it.meter_id}: open, {'prepaid' if prepaid else 'postpaid'}")


@app.command()
def close(
    meter: Meter,
    reason: Reason,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
) -> None:
    """Close an account: later energy costs nothing, and nothing is cut. The ledger and the balance stay.

    \b
    meter61850 credit close "House 1" --reason "moved out"
    """
    with opened(database, credit, tariffs, meter) as it:
        balance = it.accounts.close(it.meter_id, by=by(), reason=reason)
        note(f"{it.name or it.meter_id}: closed at {it.credit.text(balance)} {it.credit.file.currency}")


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
    as_json: Json = False,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
) -> None:
    """List the accounts with balance, state, and the days for which they last.

    \b
    meter61850 credit list
    meter61850 credit list --json | jq '.[] | select(.state == "exhausted")'
    """
    with opened(database, credit, tariffs) as it:
        found = it.accounts.standings(closed=everything)
        rows = [documents.standing(it.credit, one) for one in found]
        show([_for_people(row, as_json) for row in rows], as_json=as_json, empty="no account", spare=SPARE)


@app.command("show")
def show_(
    meter: Meter,
    last: Annotated[int, typer.Option(min=1, help="So many entries of the ledger.")] = 20,
    as_json: Json = False,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
) -> None:
    """Show an account, and the newest entries of its ledger.

    \b
    meter61850 credit show "House 1"
    """
    with opened(database, credit, tariffs, meter) as it:
        row = documents.standing(it.credit, it.accounts.standing(it.meter_id))
        found = it.accounts.entries(it.meter_id, start=0, end=at_ms(datetime.now(UTC)) + 1, last=last)
        entries = [documents.entry(it.credit, one) for one in found]
        if as_json:
            show_one(row | {"entries": entries}, as_json=True)
            return
        show_one(_for_people(row, as_json), as_json=False)
        line("")
        show(entries, as_json=False, empty="no entry", spare=("value_at", "who", "reason", "reference"))


def _for_people(row: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """Whose it is by name, and without what the columns beside it say."""
    if as_json:
        return row
    left = {"meter_id", "name", "currency", "exhausted_since", "warned_at", "cut_at"}
    return {
        "meter": row["name"] or row["meter_id"],
        **{name: value for name, value in row.items() if name not in left},
    }


@app.command()
def top_up(
    meter: Meter,
    amount: Amount,
    reference: Annotated[str, typer.Option(help="Of the payment system: a payment has one of its own.")],
    reason: Annotated[str, typer.Option(help="More about it, for the ledger.")] = "",
    as_json: Json = False,
    credit: CreditPath = None,
    tariffs: TariffsPath = None,
    database: Database = DATABASE,
) -> None:
    """Add a payment. The same reference again books nothing; exit 5 if it is another payment.

    \b
    meter61850 credit top-up "House 1" 20.00 --reference MPESA-81B2
    """
    with opened(database, credit, tariffs, meter) as it:
        paid = amount_of(amount, it.credit)
        payment = it.accounts.top_up(it.meter_id, paid, reference=reference, by=by(), reason=reason)
        show_one(documents.payment(it.credit, payment), as_json=as_json)


for command in (
    credit_books.adjust,
    credit_books.waiting,
    credit_books.decide,
    credit_books.statement,
    credit_books.audit,
    credit_run.run,
    credit_run.settle,
):
    app.command()(command)
