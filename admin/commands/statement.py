"""``meter61850 statement``: a month of a meter as HTML or PDF."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from admin.commands.credit_options import CreditPath
from admin.lazy import new_app
from admin.options import DATABASE, Database, Json
from admin.output import note, print_json, progress
from admin.statement_files import Page, html, pdf
from admin.statement_money import ledger_of
from admin.stores import open_store
from admin.times import TimeZone, calendar_of
from bridge.credit.settings import CreditSettings
from bridge.store.export import ExportError
from bridge.store.statement import Statement, statements
from bridge.store.tables import moment
from bridge.store.tariffs import load
from broker.calendar import Calendar, Period
from broker.contract.errors import ConfigurationError


class Form(StrEnum):
    """Of the files of --all."""

    PDF = "pdf"
    HTML = "html"


OptionalTariffs = Annotated[
    Path | None,
    typer.Option(
        "--tariffs",
        envvar="METER61850_TARIFFS",
        metavar="FILE",
        show_default=False,
        help="The calendar of tariffs; default: no energy by tariff.",
    ),
]

app = new_app(rich_markup_mode=None)


@app.command()
def statement(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="A local month that is over.")],
    meter: Annotated[
        str | None, typer.Argument(metavar="METER", help="Or --all.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", show_default=False, help="Write x.pdf or x.html.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="A file for each meter, in --directory.")] = False,
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default=False, help="Where --all writes.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="Of the files of --all.")] = Form.PDF,
    font: Annotated[
        Path | None,
        typer.Option(metavar="FILE", show_default=False, help="TrueType font of PDF; DejaVu Sans if needed."),
    ] = None,
    tariffs: OptionalTariffs = None,
    credit: CreditPath = None,
    as_json: Json = False,
    time_zone: TimeZone = None,
    database: Database = DATABASE,
) -> None:
    """Write the statement of a month: registers, energy by tariff, maximum demand, quality of intervals.

    With --credit also what the account's ledger says. PDF needs the extra [pdf]. Of all meters the files are
    named by month and meter_id.

    \b
    meter61850 statement "House 1" --month 2026-11 --output house-1.pdf
    meter61850 statement --all --month 2026-11 --directory november --tariffs tariffs.toml
    meter61850 statement "House 1" --month 2026-11 --json
    """
    if (meter is None) != all_ or [bool(output and meter), bool(directory and all_), as_json].count(
        True
    ) != 1:
        raise ConfigurationError("METER with --output or --json, or --all with --directory or --json")
    calendar = calendar_of(time_zone)
    period = _period(month, calendar)
    told = load(tariffs, zone=time_zone) if tariffs else None
    prices = CreditSettings(credit=credit, tariffs=tariffs).prices()
    with open_store(database) as store:
        meters = [store.meter(meter).meter] if meter else store.registry(retired=True)
        through = progress(meters, what="meters", total=len(meters))
        money = ledger_of(store.engine, prices.credit) if prices else None
        found = statements(store, through, period, tariffs=told, money=money)
        if as_json:
            print_json([_document(one) for one in found])
        else:
            _write(found, _place(output, directory, f"{month}-{{}}.{form}"), font, calendar)


def _place(output: Path | None, directory: Path | None, pattern: str) -> Callable[[Statement], Path]:
    """Where a statement is written."""
    if directory is None:
        return lambda _: output or Path()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"cannot make {directory}: {error}") from error
    return lambda one: directory / pattern.format(one.meter.meter_id)


def _period(month: str, calendar: Calendar) -> Period:
    try:
        begin, end = calendar.month(month)
    except ValueError as error:
        raise ConfigurationError(f"--month: {error}") from error
    if end > datetime.now(UTC):
        raise ConfigurationError(f"--month: {month} is not over: statements are of whole months")
    return Period(month, begin, end)


def _write(
    found: Iterable[Statement], place: Callable[[Statement], Path], font: Path | None, calendar: Calendar
) -> None:
    count = 0
    for one in found:
        file = place(one)
        if file.suffix not in (".pdf", ".html"):
            raise ConfigurationError(f"--output {file}: name a .pdf or a .html")
        page = Page.of(one, calendar)
        data = pdf(page, font) if file.suffix == ".pdf" else html(page)
        try:
            file.write_bytes(data)
        except OSError as error:
            raise ExportError(f"cannot write {file}: {error}") from error
        count += 1
    note(f"{count} written" if count else "nothing is known of this month")


def _document(one: Statement) -> dict[str, Any]:
    demand = one.demand | {"demand_at": moment(at) if (at := one.demand["demand_at"]) is not None else None}
    return {
        "meter_id": one.meter.meter_id,
        "name": one.meter.name,
        "period": one.period.name,
        "start": one.period.start,
        "end": one.period.end,
        "registers": [line._asdict() for line in one.registers],
        "tariffs": [line._asdict() for line in one.tariffs],
        "demand": demand,
        "intervals": one.intervals,
        "money": [line._asdict() for line in one.money],
    }
