"""Books the intervals of load profiles: what has a new version is priced, and its difference is booked.

Upkeep notes a day of a meter with an account when it writes the day's intervals (`Due`, ``credit``), in the
same transaction; here the day is looked at and struck off. An interval is booked by meter, start and version:
`CreditInterval` has the version that was booked last, in the transaction that books it. Whatever is estimated
or missing costs nothing and waits for a person; if it was booked in an earlier version, that is taken back.

>>> Booker(prices, now=now).step(connection)  # a day of a meter  # doctest: +SKIP
True
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, time
from enum import IntEnum
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, or_, select, tuple_, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import col

from bridge.credit.entries import ENERGY, STANDING, Kind, Of, Side, post, settle, total
from bridge.credit.prices import Bucket, Prices
from bridge.store.database import is_about_data
from bridge.store.due import done, next_due
from bridge.store.intervals import Mark
from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS, CreditAccount, CreditInterval, Due, LoadProfile, at_ms, moment
from bridge.store.upsert import upsert_into
from broker.contract.errors import ConfigurationError, reason

log = logging.getLogger(__name__)

WORK = "credit"
"""Of `bridge.store.tables.Due`."""
_DOUBTFUL = frozenset({Mark.ESTIMATED, Mark.MISSING})
_TABLE = CreditInterval.metadata.tables["credit_interval"].c


class Status(IntEnum):
    """Of an interval."""

    WAITING = 0
    """It is doubtful, has cost nothing, and waits for a person."""
    BOOKED = 1
    FREE = 2
    """A person said that it costs nothing."""
    COSTED = 3
    """A person said that it costs what is known of it."""


class Known(NamedTuple):
    """What an interval has cost so far."""

    tariff: int
    energy: int
    amount: int


class Change(NamedTuple):
    """An interval from ``start`` (ms) in a version that was not booked yet."""

    start: int
    version: int
    status: Status
    bucket: Bucket
    energy: int
    """That it costs for: thousandths of a Wh."""
    before: Known | None


class Booker:
    """One round of booking at ``now`` (ms)."""

    def __init__(self, prices: Prices, *, now: int) -> None:
        self._prices = prices
        self._now = now
        local = prices.credit.calendar.local(moment(now))
        self._today = at_ms(prices.credit.calendar.utc(datetime.combine(local.date(), time())))
        self._left: tuple[int, int] | None = None
        """Begin and meter of the last day that could not be booked."""
        self._failed: set[int] = set()
        self._charged = 0
        """The last meter whose standing charges were looked at."""
        self._said: set[str] = set()
        self.intervals = 0
        """That were booked, or wait."""

    def step(self, connection: Connection) -> bool:
        """Book a day of a meter, or its standing charges; False when nothing is left.

        What cannot be booked is logged and stays due, with all that follows of this meter: it is silent then,
        and is not cut. The others go on.
        """
        if (due := self._next(connection)) is not None:
            meter, start = due
            fails = meter in self._failed
            if fails or not self._tried(connection, meter, lambda: self._book(connection, meter, start)):
                self._left = start, meter
                self._failed.add(meter)
            return True
        return self._charge(connection)

    def _next(self, connection: Connection) -> tuple[int, int] | None:
        """The earliest (meter, day) that is due, behind the one that was left out last."""
        if self._left is None:
            return next_due(connection, WORK, until=self._now)
        some = (col(Due.work) == WORK, tuple_(col(Due.start), col(Due.meter)) > tuple_(*self._left))
        wanted = select(col(Due.meter), col(Due.start)).where(*some, col(Due.start) <= self._now)
        row = connection.execute(wanted.order_by(col(Due.start), col(Due.meter)).limit(1)).first()
        return (row.meter, row.start) if row is not None else None

    def _tried(self, connection: Connection, meter: int, book: Callable[[], None]) -> bool:
        """Whether it was booked; if not, nothing of it was. A database in trouble is an error."""
        try:
            with connection.begin_nested():
                book()
        except Exception as error:
            if isinstance(error, DBAPIError) and not is_about_data(error):
                raise
            if (said := reason(error)) not in self._said:
                self._said.add(said)
                unexpected = None if isinstance(error, ConfigurationError) else error
                log.error("meter key %s: it is not booked: %s", meter, said, exc_info=unexpected)
            return False
        return True

    def _book(self, connection: Connection, meter: int, start: int) -> None:
        account = locked(connection, meter)
        done(connection, WORK, meter, start)
        day = day_of(connection, meter, start)
        if account is None or day is None:
            return
        end = DAY_MS + start if account.closed_at is None else account.closed_at
        before = booked(connection, meter, start, start + DAY_MS)
        changes = list(self._changes(day, before, max(start, account.opened_at), end))
        if not changes:
            return
        apply(connection, meter, changes, prices=self._prices, now=self._now)
        self.intervals += len(changes)
        reached = [one.start + day.span for one in changes if one.status is not Status.WAITING]
        until = max([*reached, account.booked_until or 0])
        if reached and until != account.booked_until:
            noted = update(CreditAccount).where(col(CreditAccount.meter) == meter)
            connection.execute(noted.values(booked_until=until))
        settle(connection, meter, self._prices.credit.limits, now=self._now)

    def _changes(self, day: Day, before: dict[int, Row[Any]], begin: int, end: int) -> Iterator[Change]:
        energies, marks = day.column("energy_import"), day.column("energy_import_mark")
        for place in day.places(day.start, day.start + DAY_MS):
            start, version = day.start + place * day.span, day.version(place)
            old = before.get(start)
            if old is None and not begin <= start < end:
                continue  # but what was booked before an account was closed and opened again is corrected
            if version <= (old.version if old is not None else 0):
                continue
            known = Known(old.tariff, old.energy, old.amount) if old is not None else None
            energy, mark = energies[place], marks[place]
            status, costs = Status.BOOKED, energy or 0
            if mark is None or mark in _DOUBTFUL or energy is None:
                status, costs = _doubtful(old, costs)
            bucket = self._prices.bucket(start, span=day.span)
            yield Change(start, version, status, bucket, costs, known)

    def _charge(self, connection: Connection) -> bool:
        """The standing charges of one account, of local days that are over."""
        until, closed = col(CreditAccount.charged_until), col(CreditAccount.closed_at)
        is_open, key = or_(closed.is_(None), closed > until), col(CreditAccount.meter)
        wanted = select(CreditAccount).where(until < self._today, is_open, key > self._charged)
        if (account := connection.execute(wanted.order_by(key).limit(1)).first()) is None:
            return False
        self._charged = account.meter
        self._tried(connection, account.meter, lambda: self._charge_days(connection, account))
        return True

    def _charge_days(self, connection: Connection, account: Row[Any]) -> None:
        credit = self._prices.credit
        end = min(self._today, account.closed_at or self._today)
        for day in credit.calendar.days(moment(account.charged_until), moment(end)):
            date = credit.calendar.local(day.start).date()
            charge = credit.thousandths(credit.version_on(date)[0].standing_charge)
            if charge:
                value_at = self._prices.value_at(at_ms(day.start), now=self._now)
                key = f"day:{account.meter}:{day.name}"
                of = Of(account.meter, key, Kind.STANDING_CHARGE, self._now, value_at)
                post(connection, of, [Side(STANDING, charge)])
        mine = col(CreditAccount.meter) == account.meter
        connection.execute(update(CreditAccount).where(mine).values(charged_until=self._today))
        settle(connection, account.meter, credit.limits, now=self._now)


def _doubtful(old: Row[Any] | None, energy: int) -> tuple[Status, int]:
    """What becomes of a doubtful interval: what a person has decided about it stays."""
    if old is not None and old.status == Status.FREE:
        return Status.FREE, 0
    if old is not None and old.status == Status.COSTED and old.energy == energy:
        return Status.COSTED, energy
    return Status.WAITING, 0


def locked(connection: Connection, meter: int) -> Row[Any] | None:
    """The account of a meter; nobody else books on it until the transaction ends."""
    wanted = select(CreditAccount).where(col(CreditAccount.meter) == meter)
    return connection.execute(wanted.with_for_update()).first()


def day_of(connection: Connection, meter: int, start: int) -> Day | None:
    """The intervals of a UTC day (ms)."""
    columns = col(LoadProfile.start), col(LoadProfile.minutes), col(LoadProfile.data)
    wanted = select(*columns).where(col(LoadProfile.meter) == meter, col(LoadProfile.start) == start)
    row = connection.execute(wanted).first()
    return Day(*row) if row is not None else None


def booked(connection: Connection, meter: int, start: int, end: int) -> dict[int, Row[Any]]:
    """What was looked at of this time, by the begins of the intervals."""
    some = (_TABLE.meter == meter, _TABLE.start >= start, _TABLE.start < end)
    return {row.start: row for row in connection.execute(select(*_TABLE).where(*some))}


def apply(
    connection: Connection,
    meter: int,
    changes: Iterable[Change],
    *,
    prices: Prices,
    now: int,
    of: Callable[[Change, int], Of] | None = None,
) -> int:
    """Book these, a transaction for each local month; what they cost. ``of`` makes its head."""
    sums: dict[Bucket, int] = {}
    cost = 0
    for _, several in groupby(changes, key=lambda change: change.bucket.month):
        group = list(several)
        sides, rows = list[Side](), list[dict[str, Any]]()
        for change in group:
            own = list(_sides(connection, meter, change, prices, sums))
            amount = sum(side.amount for side in own) + (change.before.amount if change.before else 0)
            sides += own
            rows.append(
                {"meter": meter, "start": change.start, "version": change.version, "status": change.status,
                 "tariff": change.bucket.tariff, "energy": change.energy, "amount": amount}
            )  # fmt: skip
        connection.execute(upsert_into(connection.dialect.name, CreditInterval), rows)
        first = group[0]
        value_at = prices.value_at(first.start, now=now)
        head = (of or _use(meter, now))(first, value_at)
        together = total(sides)
        if any(side.amount or side.energy for side in together):
            posted = post(connection, head, together)
            assert posted, f"{head.transaction_key} is booked already"
        cost += sum(side.amount for side in sides)
    return cost


def _use(meter: int, now: int) -> Callable[[Change, int], Of]:
    return lambda first, value_at: Of(
        meter, f"use:{meter}:{first.start}:{first.version}", Kind.USE, now, value_at
    )


def _sides(
    connection: Connection, meter: int, change: Change, prices: Prices, sums: dict[Bucket, int]
) -> Iterator[Side]:
    """What an interval adds to its bucket, and takes from the one that it was in before."""
    moves = {change.bucket: change.energy}
    if (before := change.before) is not None:
        old = prices.of(change.start, tariff=before.tariff) if before.energy else change.bucket
        moves[old] = moves.get(old, 0) - before.energy
    for bucket, energy in moves.items():
        if bucket not in sums:
            sums[bucket] = _energy_in(connection, meter, bucket)
        cost = bucket.price.cost(sums[bucket] + energy) - bucket.price.cost(sums[bucket])
        sums[bucket] += energy
        yield Side(f"{ENERGY}:T{bucket.tariff}", cost, energy)


def _energy_in(connection: Connection, meter: int, bucket: Bucket) -> int:
    some = (_TABLE.meter == meter, _TABLE.start >= bucket.begin, _TABLE.start < bucket.end)
    wanted = select(func.coalesce(func.sum(_TABLE.energy), 0)).where(*some, _TABLE.tariff == bucket.tariff)
    return int(connection.scalar(wanted) or 0)
