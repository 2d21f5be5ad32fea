"""The orders of the service that cuts and restores, in the store: each is there before it is sent.

An order's command_id is made of what it is for: meter, act, exhaustion and attempt. So a second service, or
the same one after a crash, finds that the order was given; and a meter refuses a command_id that it has had.

>>> command_id("3f2504e0-4f89-41d3-9a0c-0305e82c3301", Act.CUT, moment(1_800_000_000_000), 1)
'5259ae36-1bb2-5107-86a3-6820c7346e22'
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col

from bridge.credit.cutting import ATTEMPTS, MINUTE, NOT_CARRIED_OUT, Act, Decision, Order
from bridge.credit.entries import METER
from bridge.credit.standing import Standing
from bridge.store import audit
from bridge.store.audit import Event, Kind
from bridge.store.tables import Command, CreditAccount, CreditAction, CreditEntry, Meter, at_ms, moment
from broker.contract.known import Known
from broker.contract.relay import OriginCategory
from broker.contract.result import Outcome

_NAMESPACE = uuid.UUID("6d657465-7236-5138-a530-637265646974")
GIVEN = "it was ordered already, by another `credit run`"
CHANGED = "the account has changed meanwhile"
UNDER_WAY = "what became of another order is not known"
LIMIT = "the limit of cuts a minute is reached"
UNBALANCED = "the ledger is not in balance: a person must look"
DOUBT = timedelta(days=1)
"""For so long the relay of a meter that did not carry an order out is looked at, whether it did after all."""
IN_FLIGHT = timedelta(minutes=10)
"""A command without an outcome for so long has none: the bridge that waited for it was away."""
NAME = "credit"
WHO = f"{OriginCategory.AUTOMATIC_REMOTE} {NAME}"
"""Origin of its commands, and who it is in the audit."""
_CHUNK = 500
_LOCK = 61855
"""PostgreSQL advisory lock: orders are noted one after the other, so that two services have one limit."""


def command_id(meter_id: str, act: Act, for_since: datetime, attempt: int) -> str:
    """The command_id of an order (RFC 9562 UUID of version 5)."""
    return str(uuid.uuid5(_NAMESPACE, f"{meter_id}\n{act}\n{at_ms(for_since)}\n{attempt}"))


def new_order(
    decision: Decision, standing: Standing, orders: Iterable[Order], meter: Known | None, now: datetime
) -> Order:
    """The order of a decision, the next attempt for its exhaustion."""
    since = standing.exhausted_since or standing.cut_at
    assert since is not None, "nothing else is decided"
    if decision.act in (Act.RESTORE, Act.FORGET):  # of the cut that it ends
        since = next((one.for_since for one in reversed([*orders]) if one.act is Act.CUT), since)
    attempt = 1 + sum(one.act is decision.act and one.for_since == since for one in orders)
    return Order(
        command_id=command_id(standing.meter_id, decision.act, since, attempt),
        meter_id=standing.meter_id,
        act=decision.act,
        for_since=since,
        at=now,
        attempt=attempt,
        operations=meter.relay.operations if meter is not None and meter.relay is not None else None,
        reason=decision.reason,
    )


def record(engine: Engine, order: Order, *, cuts_a_minute: int) -> str:
    """Note an order before it is sent; why it must not be sent, or empty: from now on it counts as given.

    The account is looked at once more, in the same transaction.
    """
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
                connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            account = _account(connection, order.meter_id)
            if account is None:
                return CHANGED
            if why := _against(connection, order, account, cuts_a_minute):
                return why
            _write(connection, order, account.meter)
    except IntegrityError:
        return GIVEN
    return ""


def _account(connection: Connection, meter_id: str) -> Row[Any] | None:
    """Locked, so that it does not change meanwhile."""
    mine = select(CreditAccount).join(Meter, col(Meter.key) == col(CreditAccount.meter))
    mine = mine.where(col(Meter.meter_id) == meter_id).with_for_update(of=CreditAccount)
    return connection.execute(mine).one_or_none()


def _against(connection: Connection, order: Order, account: Row[Any], limit: int) -> str:
    """Why an order must not be given."""
    since, at = account.exhausted_since, at_ms(order.for_since)
    rows = orders_of(connection, [order.meter_id]).get(order.meter_id, ())
    cuts = [row for row in rows if row.act is Act.CUT and row.for_since == order.for_since]
    ends = order.act in (Act.RESTORE, Act.FORGET)
    spared = account.closed_at is not None or account.lifeline or not account.prepaid
    warned = since is not None and (account.warned_at or 0) >= since
    fits = since == at and account.cut_at is None and warned is (order.act is Act.CUT)
    rules = (
        (any(row.command_id == order.command_id for row in rows), GIVEN),
        (any(not row.outcome for row in rows), UNDER_WAY),
        (ends and account.cut_at is None, CHANGED),
        (not ends and (spared or not fits), CHANGED),
        (order.act is Act.CUT and not all(row.outcome in NOT_CARRIED_OUT for row in cuts), GIVEN),
        (order.act is Act.CUT and len(cuts) >= ATTEMPTS, GIVEN),
        (order.act is Act.CUT and len(recent_cuts(connection, order.at)) >= limit, LIMIT),
        (order.act is Act.CUT and not balanced(connection, order.meter_id), UNBALANCED),
    )
    return next((why for stands, why in rules if stands), "")


def _write(connection: Connection, order: Order, meter: int) -> None:
    at, switches = at_ms(order.at), order.act.position is not None
    row = {
        "meter": meter,
        "kind": order.act,
        "at": at,
        "command_id": order.command_id,
        "for_since": at_ms(order.for_since),
        "operations": order.operations,
        "outcome": "" if switches else Outcome.DONE,
        "reason": order.reason[:255],
    }
    connection.execute(insert(CreditAction).values(row))
    if not switches:
        _follow(connection, meter, order.act, at)
    detail = {"what": order.act, "reason": order.reason, "command_id": order.command_id}
    event = Event(Kind.CREDIT, who=WHO, origin=NAME, meter_id=order.meter_id, detail=detail)
    audit.append(connection, [event], now=at)


def _follow(connection: Connection, meter: int, act: Act, now: int) -> None:
    """What an order that was carried out changes in the account."""
    values: Mapping[Act, dict[str, int | None]] = {
        Act.WARN: {"warned_at": now},
        Act.CUT: {"cut_at": now, "restored_at": None},
        Act.RESTORE: {"cut_at": None, "restored_at": now},
        Act.FORGET: {"cut_at": None},
    }
    mine = col(CreditAccount.meter) == meter
    connection.execute(update(CreditAccount).where(mine).values(**values[act]))


def end(engine: Engine, command_id: str, outcome: str, *, now: datetime, by: Event | None = None) -> None:
    """Note what became of an order. The first outcome stands, but a meter that shows it has done it is right.

    ``by``: the audit of a person who knows it.
    """
    mine = col(CreditAction.command_id) == command_id
    with engine.begin() as connection:
        columns = select(col(CreditAction.meter), col(CreditAction.kind))
        row = connection.execute(columns.where(mine)).one()
        before = ("", *NOT_CARRIED_OUT) if outcome == Outcome.DONE else ("",)
        is_open = col(CreditAction.outcome).in_(before)
        changed = update(CreditAction).where(mine, is_open).values(outcome=outcome)
        if connection.execute(changed).rowcount and outcome == Outcome.DONE:
            _follow(connection, row.meter, Act(row.kind), at_ms(now))
        if by is not None:
            audit.append(connection, [by], now=at_ms(now))


def recent_cuts(connection: Connection, now: datetime) -> list[datetime]:
    """When cuts were recorded within the last minute, or in the future of our clock."""
    cuts = select(col(CreditAction.at)).where(
        col(CreditAction.kind) == Act.CUT, col(CreditAction.at) > at_ms(now - MINUTE)
    )
    return [moment(at) for at in connection.execute(cuts).scalars()]


def orders_of(connection: Connection, meter_ids: Collection[str]) -> Mapping[str, tuple[Order, ...]]:
    """The orders for these meters, the oldest first."""
    found: defaultdict[str, list[Order]] = defaultdict(list)
    wanted = sorted(meter_ids)
    for start in range(0, len(wanted), _CHUNK):
        rows: Any = connection.execute(
            select(CreditAction, col(Meter.meter_id))
            .join(Meter, col(Meter.key) == col(CreditAction.meter))
            .where(col(Meter.meter_id).in_(wanted[start : start + _CHUNK]))
            .order_by(col(CreditAction.key))
        )
        for row in rows:
            found[row.meter_id].append(_order(row))
    return {meter_id: tuple(orders) for meter_id, orders in found.items()}


def _order(row: Row[Any]) -> Order:
    return Order(
        command_id=row.command_id,
        meter_id=row.meter_id,
        act=Act(row.kind),
        for_since=moment(row.for_since),
        at=moment(row.at),
        operations=row.operations,
        outcome=row.outcome,
        reason=row.reason,
    )


def open_orders(connection: Connection, now: datetime) -> set[str]:
    """meter_ids with an order whose outcome is not known, or may turn out to be another one."""
    rows = select(col(Meter.meter_id)).join(CreditAction, col(CreditAction.meter) == col(Meter.key))
    not_done = col(CreditAction.outcome).in_(NOT_CARRIED_OUT), col(CreditAction.at) > at_ms(now - DOUBT)
    return set(connection.scalars(rows.where(or_(col(CreditAction.outcome) == "", and_(*not_done)))))


def in_flight(connection: Connection, now: datetime) -> set[str]:
    """meter_ids with a command without an outcome, by whomever, in the ledger of commands."""
    new = col(Command.outcome) == "", col(Command.received_at) > at_ms(now - IN_FLIGHT)
    return set(connection.scalars(select(col(Command.meter_id)).where(*new)))


def in_ledger(connection: Connection, command_ids: Collection[str]) -> Mapping[str, str]:
    """The meters' answers in the ledger of commands; none of one whose relay is still waited for."""
    ours = col(Command.command_id).in_(command_ids), col(Command.moves_by).is_(None)
    answered = (*ours, col(Command.result_ts).is_not(None))
    rows = connection.execute(select(col(Command.command_id), col(Command.outcome)).where(*answered))
    return {row.command_id: row.outcome for row in rows}


def balanced(connection: Connection, meter_id: str) -> bool:
    """Whether a meter's entries are zero together, and its balance is the sum of its account's own."""
    columns = select(col(CreditAccount.meter), col(CreditAccount.balance))
    mine = columns.join(Meter, col(Meter.key) == col(CreditAccount.meter))
    key, balance = connection.execute(mine.where(col(Meter.meter_id) == meter_id)).one()
    total = select(func.coalesce(func.sum(col(CreditEntry.amount)), 0)).where(col(CreditEntry.meter) == key)
    of_meter = total.where(col(CreditEntry.account) == METER)
    return connection.scalar(total) == 0 and connection.scalar(of_meter) == balance
