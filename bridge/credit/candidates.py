"""The accounts of which something may be to be done: exhausted, cut, or with an order that is not settled.

>>> look(engine, limits, now=utc_now()).accounts  # doctest: +SKIP
{'3f2504e0-4f89-41d3-9a0c-0305e82c3301': Account(standing=…)}
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from bridge.credit import orders
from bridge.credit.cutting import Account
from bridge.credit.standing import Limits, Standing, State
from bridge.credit.standings import standings
from bridge.store.database import snapshot
from bridge.store.tables import at_ms


@dataclass(frozen=True)
class Look:
    """One state of the database."""

    accounts: Mapping[str, Account]
    """By meter_id."""
    recent_cuts: list[datetime]
    in_ledger: Mapping[str, str]
    """command_id of an order that is not settled → its outcome in the ledger of commands."""

    unsettled: set[str]
    """meter_ids with an order whose outcome is not known, or may turn out to be another one."""


def look(engine: Engine, limits: Limits, *, now: datetime, sum_up: Collection[str] = ()) -> Look:
    """All of them; the ledger of those in ``sum_up`` (meter_ids) is added up."""
    with snapshot(engine) as connection:
        unsettled = orders.open_orders(connection, now)
        found = {one.meter_id: one for one in _standings(connection, limits, now) if _matters(one, unsettled)}
        ours, running = orders.orders_of(connection, found.keys()), orders.in_flight(connection, now)
        waiting = [one.command_id for several in ours.values() for one in several if not one.outcome]
        return Look(
            {
                meter_id: Account(
                    standing,
                    orders=ours.get(meter_id, ()),
                    balanced=meter_id not in sum_up or orders.balanced(connection, meter_id),
                    running=meter_id in running,
                )
                for meter_id, standing in found.items()
            },
            orders.recent_cuts(connection, now),
            orders.in_ledger(connection, waiting),
            unsettled & found.keys(),
        )


def _matters(standing: Standing, unsettled: set[str]) -> bool:
    return standing.state is State.EXHAUSTED or standing.cut_at is not None or standing.meter_id in unsettled


def _standings(connection: Connection, limits: Limits, now: datetime) -> Iterator[Standing]:
    """Of open accounts, and of those that were closed while their meter was cut: they are restored."""
    is_open = {one.meter_id for one in standings(connection, limits, now=at_ms(now))}
    for standing in standings(connection, limits, now=at_ms(now), closed=True):
        yield standing if standing.meter_id in is_open else replace(standing, prepaid=False)
