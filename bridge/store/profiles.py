"""Load profiles: the interval values of each meter, made from its readings when an hour is summed up.

Energy comes from the registers, never from powers: `bridge.store.intervals` cuts the steps of
`bridge.store.energy` at the boundaries. An hour is computed with the steps that reach into it from other
hours. If those that reach over its begin or end are others than when it was computed last (a late reading,
the first one after an outage), the hours that they come from, or go to, are computed again with it. So the
result depends on the readings alone, not on their order. What was computed once and is another value now is
a new version, and a correction is noted.

>>> renew(connection, meter, [start], minutes=15, now=now, over=over)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Select,
    bindparam,
    exists,
    func,
    insert,
    literal,
    select,
)
from sqlmodel import SQLModel, col

from bridge.store.deleted import deleted_before
from bridge.store.intervals import by_day, near_ms, rows_of
from bridge.store.profile_format import Day, Joint
from bridge.store.profile_steps import REGISTERS, Found, Steps, Summed
from bridge.store.tables import (
    DAY_MS,
    HOUR_MS,
    CreditAccount,
    Due,
    LoadProfile,
    Meter,
    ProfileCorrection,
    ProfileSum,
)
from bridge.store.upsert import insert_into, upsert_into

LATE, REGISTER = "late readings", "a register was not known before"
"""Why an interval has a new version."""


def renew(
    connection: Connection,
    meter: int,
    summed: Summed,
    hours: Iterable[int],
    *,
    minutes: int,
    now: int,
    over: int,
) -> None:
    """Compute the intervals of these hours (ms), and of those that their steps reach into.

    All of these are over, for they are before ``over``, the beginning of an hour.
    """
    for first, end in _runs(sorted(hours)):
        _Renewal(connection, meter, summed, minutes=minutes, now=now, over=over).run(first, end)


def _runs(hours: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Begin and end of hours that follow each other."""
    begin = end = None
    for hour in hours:
        if begin is not None and hour != end:
            yield begin, end  # type: ignore[misc]
            begin = None
        begin, end = hour if begin is None else begin, hour + HOUR_MS
    if begin is not None:
        yield begin, end  # type: ignore[misc]


_INTERVAL = select(col(Meter.interval)).where(col(Meter.key) == bindparam("of"))
_DAYS = (
    select(col(LoadProfile.start), col(LoadProfile.minutes), col(LoadProfile.data))
    .where(col(LoadProfile.meter) == bindparam("of"))
    .where(col(LoadProfile.start) >= bindparam("first", type_=BigInteger))
    .where(col(LoadProfile.start) <= bindparam("last", type_=BigInteger))
)
"""Made once, as the next."""


@lru_cache
def _to_book(dialect: str) -> Executable:
    """Notes that a day of a meter with an account is to be booked."""
    account = exists().where(col(CreditAccount.meter) == bindparam("of"))
    due: Select[str, int, int] = select(
        literal("credit"), bindparam("day", type_=BigInteger), bindparam("of")
    ).where(account)
    inserted = insert_into(dialect, Due).from_select(["work", "start", "meter"], due)
    noted: Executable = inserted.on_conflict_do_nothing()
    return noted


class _Renewal:
    """One time of one meter, which grows while its steps reach further."""

    def __init__(
        self, connection: Connection, meter: int, summed: Summed, *, minutes: int, now: int, over: int
    ) -> None:
        self._connection = connection
        self._meter = meter
        self._minutes = minutes
        self._now = now
        self._over = over
        interval = connection.scalar(_INTERVAL, {"of": meter})
        self._days: dict[int, Day] = {}
        self._steps = Steps(connection, meter, summed, near=near_ms(interval or 0.0), joints=self._joints)

    def run(self, first: int, end: int) -> None:
        """Compute from ``first`` to ``end``, and write what is another value than before."""
        while True:
            self._load(first, end)
            found = self._steps.find(first, end)
            wider = self._reach(found, first, end)
            if wider == (first, end):
                break
            first, end = wider
        corrections = list(self._write(found, first, end))
        for start in range(first - first % DAY_MS, end + 1, DAY_MS):
            self._store(self._days[start])
        if corrections:
            self._connection.execute(insert(ProfileCorrection), corrections)

    # --- what there is -----------------------------------------------------------------------------

    def _load(self, first: int, end: int) -> None:
        wanted = [day for day in range(first - first % DAY_MS, end + 1, DAY_MS) if day not in self._days]
        if not wanted:
            return
        some = {"of": self._meter, "first": wanted[0], "last": wanted[-1]}
        known = {row.start: Day(*row) for row in self._connection.execute(_DAYS, some)}
        for start in wanted:
            self._days[start] = known.get(start) or Day(start, self._minutes)

    def _day(self, at: int) -> Day:
        return self._days[at - at % DAY_MS]

    def _joints(self, at: int) -> dict[str, frozenset[Joint]]:
        """By register: the steps that reach over the beginning of an hour, as they are stored."""
        day = self._day(at)
        return {name: day.joints(name, at) for name in day.registers}

    def _known(self, hour: int) -> bool:
        """Whether an hour has intervals; its day may be another than those that are loaded."""
        self._load(hour, hour)
        day = self._day(hour)
        return any(map(day.version, day.places(hour, hour + HOUR_MS)))

    def _lost(self, found: Found, first: int, end: int) -> set[int]:
        """Hours with deleted readings, or that a step of theirs reaches into: what was made of them stays."""
        hours = {hour for hour in range(first, end, HOUR_MS) if self._known(hour)}
        before = deleted_before(self._connection) if hours else 0
        hours = {hour for hour in hours if hour < before}
        gone: dict[tuple[str, int, int, int], bool] = {}
        for at in range(first, end + 1, HOUR_MS):
            for name in self._day(at).registers:
                now = {one[:3] for one in found.joints.get(name, {}).get(at, ())}
                for joint in self._day(at).joints(name, at):
                    if (who := joint[:3]) in now:
                        continue
                    if (name, *who) not in gone:
                        gone[name, *who] = self._steps.is_gone(name, joint)
                    if gone[name, *who]:
                        hours.add(at)
        return hours

    def _reach(self, found: Found, first: int, end: int) -> tuple[int, int]:
        """The time with the hours that have to be computed together with it."""
        begin = min((first - 1000 * joint.before for joint in self._changed(found, first)), default=first)
        until = max((end + 1000 * joint.after - 1 for joint in self._changed(found, end)), default=end - 1)
        if (hour := begin - begin % HOUR_MS) < first:
            first = self._after_due(hour if self._known(hour) else hour + HOUR_MS, first)
        if (hour := until - until % HOUR_MS) >= end:
            until = min(hour + HOUR_MS if self._known(hour) else hour, self._over)
            end = self._before_due(end, max(end, until))
        return first, end

    def _changed(self, found: Found, at: int) -> Iterator[Joint]:
        """Steps that reach over a boundary, and did not when it was computed last; or the other way round."""
        stored = self._joints(at)
        for name in {*found.joints, *stored}:
            yield from found.joints.get(name, {}).get(at, frozenset()) ^ stored.get(name, frozenset())

    def _before_due(self, begin: int, end: int) -> int:
        """The first hour of this time that is due itself, so that it and what follows has its turn later."""
        return self._due(func.min(col(Due.start)), begin, end) or end

    def _after_due(self, begin: int, end: int) -> int:
        """The same to the other side."""
        last = self._due(func.max(col(Due.start)), begin, end)
        return begin if last is None else last + HOUR_MS

    def _due(self, what: ColumnElement[int], begin: int, end: int) -> int | None:
        mine = (col(Due.work) == "hour", col(Due.meter) == self._meter)
        some = select(what).where(*mine, col(Due.start) >= begin, col(Due.start) < end)
        found: int | None = self._connection.scalar(some)
        return found

    # --- what is written ---------------------------------------------------------------------------

    def _write(self, found: Found, first: int, end: int) -> Iterator[dict[str, Any]]:
        """Put everything into the days; the corrections."""
        lost = self._lost(found, first, end)
        days = by_day(found.covers, first, end)
        for start in range(first - first % DAY_MS, end, DAY_MS):
            day = self._days[start]
            places = day.places(first, end)
            begin, until = start + places.start * day.span, start + places.stop * day.span
            rows = rows_of(found.columns, days[start], begin, until, day.span)
            for hour in (hour for hour in range(begin, until, HOUR_MS) if hour not in lost):
                some = day.places(hour, hour + HOUR_MS)
                yield from self._hour(day, some, rows[some.start - places.start : some.stop - places.start])
        for name, hours in found.joints.items():
            for at in hours.keys() - lost:
                self._day(at).join(name, at, hours[at])

    def _hour(self, day: Day, places: range, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        before = [day.row(place).get("readings") or 0 for place in places]
        if sum(row["readings"] for row in rows) < sum(before):
            return  # retention has deleted them: what was made from all of them stays
        is_known = any(map(day.version, places))
        if not is_known and not any(row["readings"] or _is_reached(row) for row in rows):
            return  # nothing is known of it
        for place, had, row in zip(places, before, rows, strict=True):
            changed = day.put(place, row)
            if changed is not None:
                yield {
                    "meter": self._meter,
                    "start": day.start + place * day.span,
                    "version": day.version(place),
                    "ts": self._now,
                    "why": LATE if row["readings"] > had else REGISTER,
                    "before": orjson.dumps(changed).decode(),
                }

    def _store(self, day: Day) -> None:
        """Write the day, unless there is nothing in it."""
        if not day.names and not day.registers:
            return
        self._put(LoadProfile, day.start, {"minutes": day.minutes, "data": day.encoded()})
        sums = {name: day.total(name) for name in REGISTERS} | {"versions": day.total("version") or 0}
        self._put(ProfileSum, day.start, sums)
        noted = {"of": self._meter, "day": day.start}
        self._connection.execute(_to_book(self._connection.dialect.name), noted)

    def _put(self, table: type[SQLModel], start: int, values: dict[str, Any]) -> None:
        row = {"meter": self._meter, "start": start, **values}
        self._connection.execute(upsert_into(self._connection.dialect.name, table), row)


def _is_reached(row: dict[str, Any]) -> bool:
    return any(row.get(name) is not None for name in REGISTERS)
