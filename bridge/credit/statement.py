"""A month's statement of an account: opening balance, what happened, closing balance. Values, no rendering.

Lines are sums of entries by what they are: energy of each tariff, standing charges, payments, adjustments.
What is booked after the month's statement is final (`statement_days` of the file) belongs to the month in
which it was booked, as ``late``. So a final statement never changes, and each opens with what the one before
closed with.

>>> statement(connection, prices.credit, meter_id, "2026-11").closing  # doctest: +SKIP
-1834200
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select
from sqlmodel import col

from bridge.credit.accounts import NoAccountError, key_of
from bridge.credit.credit_file import CreditFile
from bridge.credit.entries import METER, Kind
from bridge.store.tables import CreditAccount, CreditEntry, Meter, at_ms
from broker.contract.errors import ConfigurationError


@dataclass(frozen=True)
class Line:
    """A sum of entries; money in thousandths of a minor unit."""

    kind: str
    """A `Kind`."""
    tariff: str
    """As T1, of energy; else empty."""
    energy: int
    """Thousandths of a Wh."""
    amount: int
    """What it adds to the balance: below zero it costs."""
    late: bool
    """Of an earlier month, and booked after its statement was final."""


@dataclass(frozen=True)
class Statement:
    """Of one meter and local month."""

    meter_id: str
    name: str
    month: str
    start: datetime
    end: datetime
    currency: str
    decimals: int
    opening: int
    lines: tuple[Line, ...]
    closing: int
    """The opening balance and all lines."""
    final: bool
    """False: the month is not over, or something may still come."""


def statement(
    connection: Connection, credit: CreditFile, meter_id: str, month: str, *, now: datetime
) -> Statement:
    """Of a local month such as ``2026-11``; ConfigurationError, NoAccountError."""
    try:
        start, end = credit.calendar.month(month)
    except ValueError as error:
        raise ConfigurationError(f"month: {error}") from error
    meter = key_of(connection, meter_id)
    known = select(col(Meter.name)).join(CreditAccount, col(CreditAccount.meter) == col(Meter.key))
    if (name := connection.scalar(known.where(col(Meter.key) == meter))) is None:
        raise NoAccountError(f"{meter_id} has no account: meter61850 credit open {meter_id}")
    opening = _balance(connection, meter, at_ms(start))
    lines = _lines(connection, meter, at_ms(start), at_ms(end))
    final = now >= end + timedelta(days=credit.file.statement_days)
    return Statement(
        *(meter_id, name, month, start, end, credit.file.currency, credit.file.decimals, opening),
        tuple(lines),
        opening + sum(line.amount for line in lines),
        final,
    )


def _balance(connection: Connection, meter: int, before: int) -> int:
    mine = (col(CreditEntry.meter) == meter, col(CreditEntry.account) == METER)
    wanted = select(func.coalesce(func.sum(col(CreditEntry.amount)), 0))
    return int(connection.scalar(wanted.where(*mine, col(CreditEntry.value_at) < before)) or 0)


def _lines(connection: Connection, meter: int, start: int, end: int) -> list[Line]:
    entry = CreditEntry
    is_late = (col(entry.value_at) == col(entry.at)) & col(entry.kind).in_(_INTERVALS)
    by = (col(entry.kind), col(entry.account), is_late.label("late"))
    wanted = (
        select(*by, func.sum(col(entry.energy)), func.sum(-col(entry.amount)))
        .where(col(entry.meter) == meter, col(entry.account) != METER)
        .where(col(entry.value_at) >= start, col(entry.value_at) < end)
        .group_by(*by)
        .order_by(*by)
    )
    return [
        Line(kind, account.partition(":")[2], int(energy), int(amount), bool(late))
        for kind, account, late, energy, amount in connection.execute(wanted)
    ]


_INTERVALS = [str(Kind.USE), str(Kind.DECIDED), str(Kind.STANDING_CHARGE)]
"""Kinds whose entries belong to the time of the intervals, unless they come too late."""
