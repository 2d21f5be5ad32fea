"""Writes the ledger: a transaction has two entries or more, and all of them together are zero.

>>> post(connection, of, [Side("cash", -5000)])  # +5000 of the meter  # doctest: +SKIP
True
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, Insert, insert, select, update
from sqlmodel import col

from bridge.credit.standing import Limits, State, state_of
from bridge.store.tables import CreditAccount, CreditEntry
from bridge.store.upsert import insert_into

METER, CASH, CORRECTION, STANDING, ENERGY = "meter", "cash", "correction", "standing", "energy"
"""Accounts; that of energy is one for each tariff, as ``energy:T1``."""


class Kind(StrEnum):
    """What a transaction is of; the names are kept for ever."""

    TOP_UP = "top-up"
    USE = "use"
    """Energy of intervals."""
    DECIDED = "decided"
    """Energy of intervals that waited, by a person."""
    STANDING_CHARGE = "standing-charge"
    ADJUSTMENT = "adjustment"
    """By a person."""


class Side(NamedTuple):
    """An entry on the other side; the meter's is what is missing to zero."""

    account: str
    amount: int
    energy: int = 0


@dataclass(frozen=True)
class Of:
    """What a transaction is of: the columns that its entries have in common; times in ms."""

    meter: int
    transaction_key: str
    kind: Kind
    at: int
    value_at: int
    reference: str = ""
    reason: str = ""
    who: str = ""


def post(connection: Connection, of: Of, sides: Iterable[Side]) -> bool:
    """Write a transaction, once: False if there is one of this key. The balance follows."""
    several = list(sides)
    amount = -sum(side.amount for side in several)
    common = {**asdict(of), "kind": str(of.kind)}
    first: Insert = insert_into(connection.dialect.name, CreditEntry).on_conflict_do_nothing()
    if not connection.execute(first, {**common, **Side(METER, amount)._asdict()}).rowcount:
        return False
    connection.execute(insert(CreditEntry), [{**common, **side._asdict()} for side in several])
    mine = col(CreditAccount.meter) == of.meter
    balance = {"balance": CreditAccount.balance + amount}
    connection.execute(update(CreditAccount).where(mine).values(**balance))
    return True


def settle(connection: Connection, meter: int, limits: Limits, *, now: int) -> None:
    """Note since when an account is exhausted, after its balance has changed."""
    mine = col(CreditAccount.meter) == meter
    columns = col(CreditAccount.balance), col(CreditAccount.prepaid), col(CreditAccount.exhausted_since)
    balance, prepaid, since = connection.execute(select(*columns).where(mine)).one()
    is_exhausted = prepaid and state_of(balance, limits) is State.EXHAUSTED
    if is_exhausted != (since is not None):
        values = {"exhausted_since": now} if is_exhausted else {"exhausted_since": None, "warned_at": None}
        connection.execute(update(CreditAccount).where(mine).values(**values))


def total(several: Sequence[Side]) -> list[Side]:
    """One side for each account."""
    found: dict[str, Side] = {}
    for side in several:
        before = found.get(side.account, Side(side.account, 0))
        found[side.account] = Side(side.account, before.amount + side.amount, before.energy + side.energy)
    return [side for _, side in sorted(found.items())]
