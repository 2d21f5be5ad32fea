"""Doubtful and missing intervals: they cost nothing until a person has decided.

>>> only = {"start": start, "end": start + 1, "by": By("anna", "cli")}  # doctest: +SKIP
>>> decide(engine, prices, meter_id, costs=False, reason="outage", **only)  # doctest: +SKIP
Decided(intervals=1, cost=0, balance=-1200)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, select
from sqlmodel import col

from bridge.credit.accounts import LONGEST_REASON, By, key_of, note
from bridge.credit.booking import Change, Known, Status, apply, booked, day_of, locked
from bridge.credit.entries import Kind, Of, settle
from bridge.credit.prices import Prices
from bridge.store import audit
from bridge.store.profile_format import Day
from bridge.store.profile_table import MARKS
from bridge.store.tables import DAY_MS, CreditAccount, CreditInterval, Meter, moment
from broker.contract.errors import ConfigurationError, Meter61850Error


class NothingWaitsError(Meter61850Error, LookupError):
    """No interval of this time waits."""


class Waiting(NamedTuple):
    """An interval that waits, in ms."""

    meter_id: str
    name: str
    start: int
    end: int
    mark: str
    energy: int | None
    """Thousandths of a Wh that are known of it."""
    version: int


class Decided(NamedTuple):
    """What a decision did."""

    intervals: int
    cost: int
    balance: int


def waiting(connection: Connection, meter_id: str | None = None) -> Iterator[Waiting]:
    """What waits, of one meter or of all, by meter and time."""
    interval, days = CreditInterval, dict[tuple[int, int], Day | None]()
    wanted = (
        select(interval, col(Meter.meter_id), col(Meter.name))
        .join(Meter, col(Meter.key) == col(interval.meter))
        .where(col(interval.status) == int(Status.WAITING))
        .order_by(col(interval.meter), col(interval.start))
    )
    if meter_id is not None:
        wanted = wanted.where(col(Meter.meter_id) == meter_id)
    for row in connection.execute(wanted).all():
        place = (row.meter, row.start - row.start % DAY_MS)
        if place not in days:
            days[place] = day_of(connection, *place)
        if (day := days[place]) is not None:
            energy, mark = _known(day, row.start)
            end = row.start + day.span
            yield Waiting(row.meter_id, row.name, row.start, end, mark, energy, row.version)


def _known(day: Day, start: int) -> tuple[int | None, str]:
    place = (start - day.start) // day.span
    mark = day.column("energy_import_mark")[place]
    return day.column("energy_import")[place], MARKS[-1 if mark is None else mark]


def decide(
    engine: Engine, prices: Prices, meter_id: str, *, start: int, end: int, costs: bool, reason: str, by: By
) -> Decided:
    """Have the waiting intervals with start <= begin < end (ms) cost what is known of them, or nothing.

    Raises:
        NothingWaitsError: there are none.
        ConfigurationError: there is no reason, or nothing is known of an interval that should cost.
    """
    if not reason.strip():
        raise ConfigurationError("why? give a reason")
    now = audit.now_ms()
    with engine.begin() as connection:
        meter = key_of(connection, meter_id)
        locked(connection, meter)
        changes = list(_changes(connection, meter, prices, start, end, costs))
        if not changes:
            raise NothingWaitsError(
                f"no interval of {meter_id} waits in this time: meter61850 credit waiting"
            )

        def of(first: Change, value_at: int) -> Of:
            key = f"decided:{meter}:{first.start}:{first.version}"
            said = {"reason": reason[:LONGEST_REASON], "who": by.who}
            return Of(meter, key, Kind.DECIDED, now, value_at, **said)

        cost = apply(connection, meter, changes, prices=prices, now=now, of=of)
        settle(connection, meter, prices.credit.limits, now=now)
        mine = col(CreditAccount.meter) == meter
        balance = connection.execute(select(col(CreditAccount.balance)).where(mine)).scalar_one()
        what = {"what": "decide", "intervals": len(changes), "cost": prices.credit.text(cost)}
        note(connection, meter_id, by, {**what, "reason": reason, "start": start, "end": end})
        return Decided(len(changes), cost, balance)


def _changes(
    connection: Connection, meter: int, prices: Prices, start: int, end: int, costs: bool
) -> Iterator[Change]:
    rows = booked(connection, meter, start, end).items()
    waits = {at: row for at, row in rows if row.status == Status.WAITING}
    for first, several in groupby(sorted(waits), key=lambda at: at - at % DAY_MS):
        if (day := day_of(connection, meter, first)) is not None:
            yield from (_change(day, waits[at], prices, costs) for at in several)


def _change(day: Day, row: Row[Any], prices: Prices, costs: bool) -> Change:
    energy, _ = _known(day, row.start)
    if costs and energy is None:
        raise ConfigurationError(
            f"nothing is known of the interval at {moment(row.start):%Y-%m-%dT%H:%MZ}: let it be free, and "
            "use `meter61850 credit adjust` for an estimate"
        )
    status, counts = (Status.COSTED, energy or 0) if costs else (Status.FREE, 0)
    bucket = prices.bucket(row.start, span=day.span)
    before = Known(row.tariff, row.energy, row.amount)
    return Change(row.start, row.version, status, bucket, counts, before)
