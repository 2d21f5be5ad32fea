"""What is true of the ledger at every instant: `meter61850 credit audit` looks at it.

>>> list(findings(connection))  # doctest: +SKIP
[]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select
from sqlmodel import col

from bridge.credit.entries import ENERGY, METER
from bridge.store.tables import CreditAccount, CreditEntry, CreditInterval

_ENTRY, _INTERVAL, _ACCOUNT = CreditEntry, CreditInterval, CreditAccount


def findings(connection: Connection) -> Iterator[str]:
    """What is wrong, in words; nothing if all is well."""
    yield from _sums(connection)
    yield from _balances(connection)
    yield from _intervals(connection)


def _sums(connection: Connection) -> Iterator[str]:
    """Every transaction is zero, and has two sides of one meter."""
    total, sides = func.sum(col(_ENTRY.amount)), func.count()
    meters = func.count(col(_ENTRY.meter).distinct())
    wanted = (
        select(col(_ENTRY.transaction_key), total, sides, meters)
        .group_by(col(_ENTRY.transaction_key))
        .having((total != 0) | (sides < 2) | (meters != 1))
    )
    for key, amount, count, several in connection.execute(wanted):
        yield f"transaction {key}: {count} entries of {several} meters, together {amount} instead of 0"


def _balances(connection: Connection) -> Iterator[str]:
    """The balance of an account is the sum of its entries."""
    found = _by_meter(connection, col(_ENTRY.amount), col(_ENTRY.account) == METER)
    balances = connection.execute(select(col(_ACCOUNT.meter), col(_ACCOUNT.balance)))
    known = {row.meter: row.balance for row in balances}
    for meter in sorted(found.keys() | known.keys()):
        if (amount := found.get(meter, 0)) != (balance := known.get(meter, 0)):
            yield f"meter key {meter}: the balance is {balance}, and its entries make {amount}"


def _intervals(connection: Connection) -> Iterator[str]:
    """What intervals cost, and their energy, is what was booked of them: none twice, and none not at all."""
    is_energy = col(_ENTRY.account).startswith(f"{ENERGY}:")
    columns = {"cost": "amount", "energy": "energy"}
    for what, name in columns.items():
        entries = _by_meter(connection, getattr(_ENTRY, name), is_energy)
        wanted = select(col(_INTERVAL.meter), func.sum(getattr(_INTERVAL, name)))
        rows = connection.execute(wanted.group_by(col(_INTERVAL.meter)))
        intervals = {meter: int(amount) for meter, amount in rows}
        for meter in sorted(entries.keys() | intervals.keys()):
            if (booked := entries.get(meter, 0)) != (known := intervals.get(meter, 0)):
                yield f"meter key {meter}: {what}: {booked} are booked, and its intervals make {known}"


def _by_meter(connection: Connection, column: Any, condition: ColumnElement[bool]) -> dict[int, int]:
    wanted = select(col(_ENTRY.meter), func.sum(column)).where(condition).group_by(col(_ENTRY.meter))
    return {meter: int(amount) for meter, amount in connection.execute(wanted)}
