"""Accounts, entries and statements as the command line and HTTP show them: money as exact decimal text.

>>> payment(credit, Payment(repeated=False, balance=500_000))  # doctest: +SKIP
{'repeated': False, 'balance': '5.00', 'currency': 'EUR'}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bridge.credit.accounts import Payment
from bridge.credit.credit_file import CreditFile
from bridge.credit.standing import Standing
from bridge.credit.statement import Statement
from bridge.credit.waiting import Decided, Waiting
from bridge.store.tables import CreditEntry, moment


def prices(credit: CreditFile) -> Iterator[dict[str, Any]]:
    """A row for each version, tariff and block; kWh."""
    for version in credit.versions:
        for tariff, blocks in sorted(version.prices.items()):
            for block in blocks:
                yield {
                    "from": str(version.first),
                    "tariff": tariff,
                    "up_to_kwh": None if block.up_to is None else str(block.up_to),
                    "price": str(block.price),
                    "standing_charge": str(version.standing_charge),
                    "currency": credit.file.currency,
                }


def standing(credit: CreditFile, one: Standing) -> dict[str, Any]:
    """An account."""
    days = one.days_left
    return {
        "meter_id": one.meter_id,
        "name": one.name,
        "state": str(one.state),
        "balance": credit.text(one.balance),
        "currency": credit.file.currency,
        "days_left": None if days is None else round(days, 1),
        "prepaid": one.prepaid,
        "lifeline": one.lifeline,
        "waiting": one.waiting,
        "booked_until": one.booked_until,
        "exhausted_since": one.exhausted_since,
        "warned_at": one.warned_at,
        "cut_at": one.cut_at,
    }


def entry(credit: CreditFile, one: CreditEntry) -> dict[str, Any]:
    """The meter's side of a transaction."""
    return {
        "at": moment(one.at),
        "kind": one.kind,
        "amount": credit.text(one.amount),
        "value_at": moment(one.value_at),
        "reference": one.reference,
        "reason": one.reason,
        "who": one.who,
    }


def payment(credit: CreditFile, one: Payment) -> dict[str, Any]:
    """What became of a top-up."""
    currency = credit.file.currency
    return {"repeated": one.repeated, "balance": credit.text(one.balance), "currency": currency}


def waiting(one: Waiting) -> dict[str, Any]:
    """An interval that waits; energy in Wh."""
    return {
        "meter_id": one.meter_id,
        "name": one.name,
        "start": moment(one.start),
        "end": moment(one.end),
        "mark": one.mark,
        "energy": None if one.energy is None else one.energy / 1000,
        "version": one.version,
    }


def decided(credit: CreditFile, one: Decided) -> dict[str, Any]:
    """What a decision did."""
    amounts = {"cost": credit.text(one.cost), "balance": credit.text(one.balance)}
    return {"intervals": one.intervals, **amounts, "currency": credit.file.currency}


def statement(credit: CreditFile, one: Statement) -> dict[str, Any]:
    """A month of an account; energy in Wh."""
    return {
        "meter_id": one.meter_id,
        "name": one.name,
        "month": one.month,
        "start": one.start,
        "end": one.end,
        "currency": one.currency,
        "opening": credit.text(one.opening),
        "lines": [
            {
                "kind": line.kind,
                "tariff": line.tariff,
                "energy": line.energy / 1000 if line.tariff else None,
                "amount": credit.text(line.amount),
                "late": line.late,
            }
            for line in one.lines
        ],
        "closing": credit.text(one.closing),
        "final": one.final,
    }
