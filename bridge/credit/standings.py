"""Reads accounts, with what follows from their balances.

>>> [one.state for one in standings(connection, limits, now=now)]  # doctest: +SKIP
[<State.GOOD: 'good'>, <State.LOW: 'low'>]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, func, select, true
from sqlmodel import col

from bridge.credit.entries import METER, Kind
from bridge.credit.standing import Limits, Standing, State, days_left, state_of
from bridge.store.tables import DAY_MS, CreditAccount, CreditEntry, CreditInterval, Meter, moment

FORECAST_MS = 7 * DAY_MS
"""Of so long a time the cost is taken."""
_COSTS = (Kind.USE, Kind.DECIDED, Kind.STANDING_CHARGE)


def standings(
    connection: Connection,
    limits: Limits,
    *,
    now: int,
    closed: bool = False,
    forecast: bool = False,
    meter: int | None = None,
) -> Iterator[Standing]:
    """Open accounts at ``now`` (ms), or that of one ``meter``, by key; ``closed``: the others, too."""
    mine = true() if meter is None else col(CreditAccount.meter) == meter
    is_open = true() if closed else col(CreditAccount.closed_at).is_(None)
    wanted = (
        select(CreditAccount, col(Meter.meter_id), col(Meter.name))
        .join(Meter, col(Meter.key) == col(CreditAccount.meter))
        .where(mine, is_open)
        .order_by(col(CreditAccount.meter))
    )
    accounts: Sequence[Any] = connection.execute(wanted).all()
    spent = _spent(connection, now - FORECAST_MS, meter) if forecast else {}
    waiting = _waiting(connection, meter)
    for account in accounts:
        yield _standing(account, limits, now, waiting.get(account.meter), spent.get(account.meter))


def _standing(
    account: Any, limits: Limits, now: int, waiting: tuple[int, int] | None, spent: int | None
) -> Standing:
    days = min(FORECAST_MS, now - account.opened_at) / DAY_MS
    state = _state(account, limits)
    is_out = state in (State.EXHAUSTED, State.CUT)
    count, newest = waiting or (0, None)
    return Standing(
        meter_id=account.meter_id,
        balance=account.balance,
        state=state,
        prepaid=account.prepaid,
        lifeline=account.lifeline,
        booked_until=_moment(account.booked_until),
        waiting=count,
        exhausted_since=_moment(account.exhausted_since) if is_out else None,
        warned_at=_moment(account.warned_at),
        cut_at=_moment(account.cut_at),
        days_left=days_left(account.balance, spent=spent, days=days) if spent and days >= 1 else None,
        name=account.name,
        waiting_newest=_moment(newest),
    )


def _state(account: Any, limits: Limits) -> State:
    restored = account.restored_at is not None and (account.booked_until or 0) <= account.restored_at
    if not account.prepaid:
        return State.CUT if account.cut_at is not None else State.GOOD
    return state_of(account.balance, limits, cut=account.cut_at is not None, restored=restored)


def _moment(at: int | None) -> Any:
    return None if at is None else moment(at)


def _spent(connection: Connection, since: int, meter: int | None) -> dict[int, int]:
    """By meter: what was booked of this time. Each is looked up in the index: of all the ledger has years."""
    entry = CreditEntry
    amount = (
        select(func.sum(-col(entry.amount)))
        .where(col(entry.meter) == col(CreditAccount.meter), col(entry.value_at) >= since)
        .where(col(entry.account) == METER, col(entry.kind).in_(map(str, _COSTS)))
        .correlate(CreditAccount)
        .scalar_subquery()
    )
    mine = true() if meter is None else col(CreditAccount.meter) == meter
    found = connection.execute(select(col(CreditAccount.meter), amount.label("amount")).where(mine))
    return {row.meter: int(row.amount) for row in found if row.amount is not None}


def _waiting(connection: Connection, meter: int | None) -> dict[int, tuple[int, int]]:
    """By meter: how many intervals wait, and the begin of the newest."""
    interval = CreditInterval
    mine = true() if meter is None else col(interval.meter) == meter
    wanted = (
        select(col(interval.meter), func.count(), func.max(col(interval.start)))
        .where(mine, col(interval.status) == 0)
        .group_by(col(interval.meter))
    )
    return {key: (count, newest) for key, count, newest in connection.execute(wanted)}
