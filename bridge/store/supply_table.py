"""Reads the quality of supply: weeks of meters, outages of feeders, and their reliability.

>>> Supply(store.engine).weeks([meter], [calendar.week("2026-W48")]).fields[3:6]  # doctest: +SKIP
('period', 'start', 'end')
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select
from sqlmodel import Session, col
from sqlmodel import select as models

from bridge.store.database import snapshot
from bridge.store.every_meter import METER, identity
from bridge.store.export import Table
from bridge.store.feeders import NO_FEEDER, by_feeder, topology
from bridge.store.intervals import near_ms
from bridge.store.outages import INDICES, LEAST, MOMENTARY_MINUTES, Index, Outage, index, outages
from bridge.store.silences import Silence, silences, still
from bridge.store.supply_format import Day, runs_of
from bridge.store.supply_hour import Run
from bridge.store.supply_week import FIELDS, HourAt, week
from bridge.store.tables import DAY_MS, HOUR_MS, Alarm, Meter, SupplyQuality, at_ms
from broker.calendar import Period

HEAD = (*METER, "period", "start", "end")
TOTAL = "total"
_Start, _Data = col(SupplyQuality.start), col(SupplyQuality.data)


@dataclass(frozen=True)
class Reliability:
    """Of a time."""

    outages: list[Outage]
    """Also the doubtful ones, which count nowhere."""
    indices: list[Index]
    """By feeder; the last one is of all meters."""
    meters: Mapping[int, Meter]
    """By their keys."""

    def table(self) -> Table:
        """A row for each feeder."""
        return Table(INDICES, (one.row() for one in self.indices))

    def rows(self) -> Iterator[tuple[dict[str, Any], list[Meter]]]:
        """Each outage, without its meters; and these."""
        for one in self.outages:
            minutes = None if one.end is None else round((one.end - one.begin) / 60_000, 2)
            told = {"feeder": one.feeder, "start": one.begin, "end": one.end, "minutes": minutes}
            yield told | {"sure": one.sure, "reason": one.reason}, [self.meters[key] for key in one.meters]


class Supply:
    """That of a store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def weeks(self, meters: Iterable[Meter], periods: Sequence[Period]) -> Table:
        """A row for each meter and period; the fields are in `bridge.store.supply_week`."""
        rows = (row for meter in meters for row in self._of_meter(meter, periods))
        return Table((*HEAD, *FIELDS), rows)

    def _of_meter(self, meter: Meter, periods: Sequence[Period]) -> Iterator[tuple[Any, ...]]:
        for period in periods:
            start, end = at_ms(period.start), at_ms(period.end)
            hours = self._hours(meter, start, end)
            if hours or meter.retired_at is None:
                fields = week(hours, start=start, end=end, near=near_ms(meter.interval))
                yield (*identity(meter), period.name, start, end, *fields)

    def _hours(self, meter: Meter, start: int, end: int) -> list[HourAt]:
        """Also those beside it: sags go on over its begin and end."""
        some = _days(meter.key or 0, start, end)
        with self._engine.connect() as connection:
            days = [Day(*row) for row in connection.execute(some)]
        return [
            (day.start + place * HOUR_MS, hour)
            for day in days
            for place, hour in enumerate(day.hours)
            if hour is not None
        ]

    def reliability(
        self,
        *,
        start: int,
        end: int,
        now: int,
        momentary: float = MOMENTARY_MINUTES,
        least: int = LEAST,
        through: Any = iter,
        bounded: Callable[[Iterator[Silence]], Iterable[Silence]] = iter,
    ) -> Reliability:
        """Of the outages that begin in this time (ms); ``through`` gets the meters (for a progress bar).

        Meters in no feeder have an outage only when half of them are silent: nothing else is common to them.
        ``bounded`` gets the silences, all of which are in memory then.
        """
        with Session(self._engine) as session:
            meters = [
                one for one in session.exec(models(Meter).order_by(col(Meter.key))) if _was(one, start, end)
            ]
        with snapshot(self._engine) as connection:
            feeders = by_feeder(topology(connection), meters)
            wills = _wills(connection, start)
            told = (one for meter in through(meters) for one in _silences(connection, meter, start, end, now))
            silent = list(bounded(told))
        rest = {name: feeders.pop(name) for name in (NO_FEEDER,) if name in feeders}
        half = max(least, (len(rest.get(NO_FEEDER, ())) + 1) // 2)
        found = outages(feeders, silent, wills=wills, least=least)
        found += outages(rest, silent, wills=wills, least=half)
        found.sort(key=lambda one: (one.begin, one.feeder))
        groups = [*(feeders | rest).items(), (TOTAL, {one.key or 0 for one in meters})]
        indices = [
            index(name, keys, (o for o in found if name in (o.feeder, TOTAL)), momentary=momentary)
            for name, keys in groups
        ]
        return Reliability(found, indices, {one.key or 0: one for one in meters})


def _days(meter: int, start: int, end: int) -> Any:
    """Those of a time, and one before and after it."""
    return (
        select(_Start, _Data)
        .where(col(SupplyQuality.meter) == meter, _Start > start - 2 * DAY_MS, _Start < end + DAY_MS)
        .order_by(_Start)
    )


def _was(meter: Meter, start: int, end: int) -> bool:
    """Whether it was supplied in this time."""
    return meter.first_seen < end and (meter.retired_at is None or meter.retired_at > start)


def _wills(connection: Connection, start: int) -> dict[int, list[int]]:
    """When each meter went offline: its last will, or what the bridge saw."""
    rows = select(col(Alarm.meter), col(Alarm.since)).where(
        col(Alarm.kind) == "offline", col(Alarm.since) >= start
    )
    found: dict[int, list[int]] = {}
    for meter, since in connection.execute(rows):
        found.setdefault(meter, []).append(since)
    return found


def _silences(connection: Connection, meter: Meter, start: int, end: int, now: int) -> Iterator[Silence]:
    """Those that begin in this time; a meter that was retired in one is not silent."""
    key, interval = meter.key or 0, meter.interval
    hours: list[tuple[int, list[Run]]] = [
        one for row in connection.execute(_days(key, start, end)) for one in runs_of(*row)
    ]
    if hours and (later := connection.execute(_next(key, max(end + DAY_MS, start)).limit(1)).first()):
        hours += runs_of(*later)
    found = silences(key, hours, near=near_ms(interval), interval=interval)
    if meter.retired_at is None:
        last = still(key, hours, now=now, read_at=meter.read_at, interval=interval)
        found += [last] if last is not None else []
    return (one for one in found if start <= one.begin < end)


def _next(meter: int, start: int) -> Any:
    return select(_Start, _Data).where(col(SupplyQuality.meter) == meter, _Start >= start).order_by(_Start)
