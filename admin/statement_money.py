"""The money of a month's statement: what the ledger of an account says, line by line.

>>> money = ledger_of(engine, prices)  # doctest: +SKIP
>>> money(meter, month)  # doctest: +SKIP
[MoneyLine(label='Balance before', amount='5.00 EUR'), …]
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Engine

from bridge.credit.accounts import NoAccountError
from bridge.credit.credit_file import CreditFile
from bridge.credit.entries import Kind
from bridge.credit.statement import Line, statement
from bridge.store.statement import Money, MoneyLine
from bridge.store.tables import Meter
from broker.calendar import Period

_LABELS = {
    Kind.TOP_UP: "Payments",
    Kind.USE: "Energy",
    Kind.DECIDED: "Energy, decided by hand",
    Kind.STANDING_CHARGE: "Standing charge",
    Kind.ADJUSTMENT: "Adjustments",
}


def ledger_of(engine: Engine, credit: CreditFile) -> Money:
    """Reads the lines of a meter's month; none without an account."""

    def money(meter: Meter, period: Period) -> list[MoneyLine]:
        try:
            with engine.connect() as connection:
                told = statement(connection, credit, meter.meter_id, period.name, now=datetime.now(UTC))
        except NoAccountError:
            return []
        end = "Balance after" if told.final else "Balance after, not final yet"
        before = MoneyLine("Balance before", _text(credit, told.opening))
        lines = (MoneyLine(" ".join(_label(line)), _text(credit, line.amount)) for line in told.lines)
        return [before, *lines, MoneyLine(end, _text(credit, told.closing))]

    return money


def _label(line: Line) -> Iterator[str]:
    yield _LABELS[Kind(line.kind)]
    if line.tariff:
        yield f"{line.tariff}, {line.energy / 1_000_000:.3f} kWh"
    if line.late:
        yield "(of earlier months)"


def _text(credit: CreditFile, amount: int) -> str:
    return f"{credit.text(amount)} {credit.file.currency}"
