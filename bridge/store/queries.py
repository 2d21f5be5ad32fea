"""The read side of the store: what the bridge has written, for the CLI and the web.

>>> store = Store.open("sqlite:///meter61850.sqlite")  # doctest: +SKIP
>>> [(state.meter.name, state.latest.power) for state in store.meters()]  # doctest: +SKIP
[('House 7', 21.3)]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Self, TypeVar

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, func, make_url, or_, true
from sqlalchemy import select as core_select
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, SQLModel, col, select
from sqlmodel.sql.expression import SelectOfScalar

from bridge.store import alarms, database, dead_letters, series, statistics, today, totals
from bridge.store.alarms import AlarmRecord
from bridge.store.audit import Head, head
from bridge.store.audit_verify import verified
from bridge.store.export import Table
from bridge.store.latest import with_latest
from bridge.store.ld_names import domain_of, numbered, recorded
from bridge.store.ledger import newest
from bridge.store.measured import measured, shown_fields, with_readings, with_rollups
from bridge.store.meter_names import canonical, only
from bridge.store.pack_format import Columns, StoredReading, joined, readings_of
from bridge.store.profile_table import Profiles
from bridge.store.tables import (
    ROLLUP,
    Audit,
    BlockChange,
    Command,
    DeadLetter,
    Meter,
    Pack,
    Reading,
    SclRevision,
    at_ms,
    moment,
)
from broker.contract.errors import UnavailableError, reason
from broker.contract.fleet import STALE_INTERVALS, State, age_of, state_of

T = TypeVar("T", bound=SQLModel)


@dataclass(frozen=True)
class MeterState:
    """A meter and the latest of its readings."""

    meter: Meter
    latest: StoredReading | None

    def state(self, *, now: datetime) -> State:
        """Online, stale, offline or out of service: the rules of every reader (`broker.contract.fleet`)."""
        meter, read_at = self.meter, self.latest and moment(self.latest.ts)
        stale = read_at is None or age_of(read_at, now=now) >= STALE_INTERVALS * meter.interval
        out = meter.born_at is None or meter.retired_at is not None or bool(meter.blocked)
        return state_of(broker_up=True, out=out, online=meter.online, stale=stale)


class Store:
    """Reads, each in a transaction of its own; times are ms since 1970 UTC, as in `bridge.store.tables`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = self.engine = engine

    @classmethod
    def open(cls, url: str) -> Store:
        """The store at ``url``; UnavailableError without one, ConfigurationError if it is not ours."""
        engine = database.connect(url, reader=True)
        file = make_url(url).database
        if engine.dialect.name == "sqlite" and not (file and Path(file).is_file()):
            raise UnavailableError(f"no database {file}: start the bridge, or name the right one")
        try:
            database.check_schema(engine)
        except DBAPIError as error:
            raise UnavailableError(f"the database does not answer: {reason(error)}") from error
        return cls(engine)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def meters(self, *, retired: bool = False) -> list[MeterState]:
        """Every meter in the order in which they were first heard, ``retired`` ones only if asked for."""
        return self._states(true() if retired else col(Meter.retired_at).is_(None))

    def meter(self, name: str) -> MeterState:
        """The meter with this meter_id, logical device, name, or start of a meter_id; UnknownMeterError."""
        wanted = canonical(name)
        found = self._states(or_(col(Meter.meter_id) == wanted, col(Meter.name) == name, numbered(name)))
        if not found and len(wanted) >= 4:
            found = self._states(col(Meter.meter_id).startswith(wanted, autoescape=True))
        return only(found, name, lambda state: state.meter)

    def namer(self) -> Callable[[Meter], str]:
        """What gives the MMS domain of a meter; empty for one that has no IED yet."""
        with self._engine.connect() as connection:
            names = recorded(connection).names
        return lambda meter: domain_of(names, meter.ied, meter.number, meter.meter_id)

    def registry(self, *, retired: bool = False) -> list[Meter]:
        """Every meter in the order in which they were first heard, without its readings."""
        statement = select(Meter).order_by(col(Meter.key))
        return self._all(statement if retired else statement.where(col(Meter.retired_at).is_(None)))

    def registered(self, meter_id: str) -> Meter | None:
        """The meter with exactly this meter_id; None without one."""
        return next(iter(self._all(select(Meter).where(col(Meter.meter_id) == meter_id))), None)

    def span(self, meter: Meter, *, start: int, end: int) -> Iterator[StoredReading]:
        """Readings of ``meter`` with start <= ts < end (ms since 1970), by ts, epoch and seq."""
        return chain.from_iterable(map(readings_of, self.pieces(meter, start=start, end=end)))

    def pieces(self, meter: Meter, *, start: int, end: int) -> Iterator[Columns]:
        """The same in pieces, a list for each field of `StoredReading`: what is read as it was packed."""
        assert meter.key is not None
        with database.snapshot(self._engine) as connection:
            yield from series.pieces(connection, meter.key, start=start, end=end)

    def columns(self, meter: Meter, *, start: int, end: int, most: int) -> dict[str, list[Any]]:
        """At most so many of these readings, a list for each field that the meter has."""
        pieces, count = list[Columns](), 0
        for piece in self.pieces(meter, start=start, end=end):
            pieces.append(piece)
            count += len(piece["ts"])
            if count >= most:
                break
        found, nothing = joined(pieces), [None] * count
        names = shown_fields((*measured(meter), *found))
        return {name: list(found.get(name, nothing)[:most]) for name in names}

    def readings(
        self, meter: Meter, *, since: datetime | None = None, last: int | None = None
    ) -> Iterator[StoredReading]:
        """Readings of ``meter`` by time, oldest first: from ``since`` on, and of these the ``last`` ones."""
        start, key = (at_ms(since) if since else None), meter.key
        assert key is not None
        with database.snapshot(self._engine) as connection:
            if last is None:
                yield from series.between(connection, key, start=start)
            else:
                yield from series.last(connection, key, start=start, count=last)

    def count(self, meter: Meter, *, since: datetime | None = None) -> int:
        """About how many readings there are from ``since`` on; a pack counts as a whole."""
        start = at_ms(since) if since else 0
        rows = select(func.count()).where(col(Reading.meter) == meter.key, col(Reading.ts) >= start)
        packed = select(func.sum(col(Pack.seq) - col(Pack.first_seq) + 1)).where(
            col(Pack.meter) == meter.key, col(Pack.last_ts) >= start
        )
        with self._engine.connect() as connection:
            return int(connection.scalar(rows) or 0) + int(connection.scalar(packed) or 0)

    def rollups(
        self,
        meter: Meter,
        span: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
    ) -> Table:
        """Hours (``span`` 3600) or UTC days (86400), oldest first, with what the meter has.

        The one that ``since`` falls into is the first, the last begins before ``until``; the running one is
        not summed up yet.
        """
        start, key = at_ms(since) if since else 0, ROLLUP.c.start
        which = and_(ROLLUP.c.span == span, ROLLUP.c.meter == meter.key, key > start - span * 1000)
        if until is not None:
            which = and_(which, key < at_ms(until))
        with self._engine.connect() as connection:
            names = with_rollups(connection, meter, which)
        return statistics.table(names, self._rows(statistics.selected(names, which, last=last)))

    def table(
        self, meter: Meter, rows: Iterator[StoredReading], *, start: int, end: int | None = None
    ) -> Table:
        """``rows`` of ``meter``, all with start <= ts < end (ms), with the fields that it has."""
        with self._engine.connect() as connection:
            fields = shown_fields(with_readings(connection, meter, start=start, end=end))
        return Table(fields, map(attrgetter(*fields), rows))

    def _rows(self, wanted: Select[Any]) -> Iterator[tuple[Any, ...]]:
        with self._engine.connect() as connection:
            yield from map(tuple, connection.execute(wanted, execution_options={"yield_per": 1000}))

    def energy_used(self, meter: Meter, *, start: int, end: int) -> today.Used:
        """What was used from ``start`` to ``end``, full hours in ms, whether they are summed up or not."""
        assert meter.key is not None
        with database.snapshot(self._engine) as connection:
            return today.energy_used(connection, meter.key, start=start, end=end)

    def together(self, *, start: int, end: int, numbers: Collection[int] | None = None) -> list[totals.Hour]:
        """Sums of each hour of all meters, or of those with ``numbers``: `bridge.store.totals`."""
        with self._engine.connect() as connection:
            return totals.together(connection, start=start, end=end, numbers=numbers)

    @property
    def profiles(self) -> Profiles:
        """Interval values."""
        return Profiles(self._engine)

    def alarms(self, *, last: int | None = None) -> list[AlarmRecord]:
        """What is in force, the unacknowledged first; or the ``last`` ones, also over, the newest first."""
        return alarms.in_force(self._engine) if last is None else alarms.history(self._engine, last=last)

    def dead_letters(self, *, last: int = 100, cause: str | None = None) -> list[DeadLetter]:
        """The dead letters that were seen last, the latest first; ``cause``: only those with this cause."""
        return dead_letters.newest(self._engine, last=last, cause=cause)

    def dead_letter_causes(self, *, since: int = 0, most: int | None = None) -> list[tuple[str, int]]:
        """Cause → how many of them, the most frequent ones, of those last seen after ``since`` (ms)."""
        return dead_letters.causes(self._engine, since=since, most=most)

    def commands(
        self, meter_id: str | None = None, *, last: int = 100, start: int = 0, end: int | None = None
    ) -> list[Command]:
        """The newest commands of one meter or of all, the newest first; heard of in that time (ms)."""
        return self._all(newest(Command, meter_id, last=last, start=start, end=end))

    def blocks(
        self, meter_id: str | None = None, *, last: int = 100, start: int = 0, end: int | None = None
    ) -> list[BlockChange]:
        """The same of the changes of blocks."""
        return self._all(newest(BlockChange, meter_id, last=last, start=start, end=end))

    def audit(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        event: str | None = None,
        who: str | None = None,
        subject: str | None = None,
        last: int | None = None,
        before: int | None = None,
    ) -> Iterator[Row[Any]]:
        """Rows of the audit, oldest first, and of these the ``last`` ones; streamed.

        ``who`` is a part of it, ``subject`` a meter_id, or a part of an identity; ``no`` is below ``before``.
        """
        columns = {name: getattr(Audit, name) for name in Audit.model_fields}
        conditions = [
            columns["ts"] >= at_ms(since) if since else true(),
            columns["ts"] < at_ms(until) if until else true(),
            columns["event"] == event if event else true(),
            columns["no"] < before if before else true(),
            columns["who"].contains(who, autoescape=True) if who else true(),
            or_(columns["meter_id"] == subject, columns["identity"].contains(subject, autoescape=True))
            if subject
            else true(),
        ]
        wanted = core_select(*columns.values()).where(*conditions).order_by(columns["no"].desc())
        rows = wanted.limit(last).subquery()
        with self._engine.connect() as connection:
            oldest_first = core_select(rows).order_by(rows.c.no)
            yield from connection.execute(oldest_first, execution_options={"yield_per": 1000})

    def verified_audit(self, heads: Iterable[Head], *, newest: int | None = None) -> Iterator[Row[Any]]:
        """Every row of the audit, once it is found good; see :func:`bridge.store.audit_verify.verified`."""
        with database.snapshot(self._engine) as connection:
            yield from verified(connection, heads, newest=newest)

    def audit_head(self) -> Head:
        """Where the audit ends."""
        with self._engine.connect() as connection:
            return head(connection)

    def command(self, command_id: str) -> Command | None:
        """The ledger's row for one command; None while the bridge has heard nothing of it."""
        return next(iter(self._all(select(Command).where(col(Command.command_id) == command_id))), None)

    def revisions(self, *, last: int = 100) -> list[SclRevision]:
        """The newest revisions of the SCD, the newest first."""
        return self._all(select(SclRevision).order_by(col(SclRevision.revision).desc()).limit(last))

    def _states(self, condition: ColumnElement[bool]) -> list[MeterState]:
        """The meters that meet ``condition``, each with its latest reading."""
        return [MeterState(*found) for found in with_latest(self._engine, condition)]

    def _all(self, statement: SelectOfScalar[T]) -> list[T]:
        with Session(self._engine) as session:
            return list(session.exec(statement))
