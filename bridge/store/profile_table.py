"""Reads load profiles: a row for each interval, in Wh, with its marks and its version.

>>> store.profiles.table(meter, start=start, end=end).fields  # doctest: +SKIP
('start', 'end', 'energy_import', 'energy_import_mark', 'power_mean', …, 'readings', 'version')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Engine, Select, bindparam, func
from sqlmodel import Session, col, select

from bridge.store.every_meter import METER, identity
from bridge.store.export import Table
from bridge.store.intervals import MEASURED, TENTHS, Mark
from bridge.store.profile_format import Day
from bridge.store.profile_steps import REGISTERS
from bridge.store.tables import DAY_MS, HOUR_MS, ROLLUP, LoadProfile, Meter, ProfileCorrection, Reading

ALWAYS = frozenset({"start", "end", "energy_import", "energy_import_mark", "readings", "version"})
"""Fields that every meter has."""
_MEASURED = tuple(f"{name}_{what}" for name in MEASURED for what in ("mean", "min", "max"))
_PER = dict.fromkeys(REGISTERS, 1000) | dict.fromkeys(_MEASURED, TENTHS)
"""What is stored of a Wh, W or V."""
FIELDS = (
    "start",
    "end",
    *(field for name in REGISTERS for field in (name, f"{name}_mark")),
    *_MEASURED,
    "readings",
    "version",
)
"""Of all meters together."""
_DAYS = select(col(LoadProfile.start), col(LoadProfile.minutes), col(LoadProfile.data))
_MARKS = {int(mark): mark.name.lower() for mark in Mark}
MARKS = tuple(_MARKS.values())
"""What ``…_mark`` can be, the best first."""


class Profiles:
    """Those of a store."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def engine(self) -> Engine:
        """Of the store."""
        return self._engine

    def of_days(self, meters: Sequence[int], starts: Iterable[int]) -> dict[int, dict[int, Day]]:
        """The UTC days that begin at ``starts`` (ms), as far as they have intervals; by `Meter.key`."""
        key = col(LoadProfile.meter)
        rows = _DAYS.add_columns(key).where(key.in_(meters), col(LoadProfile.start).in_(starts))
        found: dict[int, dict[int, Day]] = {}
        with self._engine.connect() as connection:
            for start, minutes, data, meter in connection.execute(rows.order_by(key, col(LoadProfile.start))):
                found.setdefault(meter, {})[start] = Day(start, minutes, data)
        return found

    def days(self, meter: Meter, *, start: int, end: int) -> list[Day]:
        """The days that have intervals with start <= begin < end, as they are stored."""
        return self._days(_days(meter, start, end).order_by(col(LoadProfile.start)))

    def each_day(self, meter: Meter, *, start: int, end: int) -> Iterator[Day]:
        """The same, of which one at a time is unpacked: ten years are a hundred MB."""
        with self._engine.connect() as connection:
            rows = connection.execute(_days(meter, start, end).order_by(col(LoadProfile.start))).all()
        return (Day(*row) for row in rows)

    def ends(self, meter: Meter, *, start: int, end: int) -> list[Day]:
        """The first and the last of these days, without the others."""
        time, few = col(LoadProfile.start), _days(meter, start, end).limit(1)
        return [*self._days(few.order_by(time)), *self._days(few.order_by(time.desc()))]

    def _days(self, rows: Select[int, int, bytes]) -> list[Day]:
        with self._engine.connect() as connection:
            return [Day(*row) for row in connection.execute(rows)]

    def begin(self, meter: Meter) -> int | None:
        """Of the first hour that the meter was ever heard in (ms); None: it never was."""
        with self._engine.connect() as connection:
            some = {"of": meter.key}
            first = connection.scalar(_FIRST_HOUR, some)
            if first is None and (first := connection.scalar(_FIRST_READING, some)) is None:
                return None
            return int(first) - int(first) % HOUR_MS

    def table(self, meter: Meter, *, start: int, end: int) -> Table:
        """The intervals of hours that are over with start <= begin < end (ms), by time.

        Energy is in Wh, reactive energy in varh; what the meter does not have has no fields.
        """
        days = self.days(meter, start=start, end=end)
        there = {*ALWAYS, *(name for day in days for name in day.names)}
        there |= {name for name in REGISTERS if f"{name}_mark" in there}  # nothing is known of it, nowhere
        fields = tuple(name for name in FIELDS if name in there)
        return Table(fields, _rows(days, fields, start, end))

    def together(self, meters: Iterable[Meter], *, start: int, end: int) -> Table:
        """The same of several meters, one after the other as they are read, with all fields."""
        rows = (
            (*identity(meter), *map(told.get, FIELDS))
            for meter in meters
            for told in self.table(meter, start=start, end=end).documents()
        )
        return Table((*METER, *FIELDS), rows)

    def corrections(self, meter: Meter, *, start: int, end: int) -> list[ProfileCorrection]:
        """What was corrected of the same intervals, by their time and version."""
        rows = (
            select(ProfileCorrection)
            .where(col(ProfileCorrection.meter) == meter.key, col(ProfileCorrection.start) >= start)
            .where(col(ProfileCorrection.start) < end)
            .order_by(col(ProfileCorrection.start), col(ProfileCorrection.version))
        )
        with Session(self._engine) as session:
            return list(session.exec(rows))


_FIRST_HOUR = select(func.min(ROLLUP.c.start)).where(
    ROLLUP.c.span == HOUR_MS // 1000, ROLLUP.c.meter == bindparam("of")
)
"""Roll-ups stay for ever, and readings may be deleted."""
_FIRST_READING = select(func.min(col(Reading.ts))).where(col(Reading.meter) == bindparam("of"))


def _days(meter: Meter, start: int, end: int) -> Select[int, int, bytes]:
    return _DAYS.where(
        col(LoadProfile.meter) == meter.key,
        col(LoadProfile.start) > start - DAY_MS,
        col(LoadProfile.start) < end,
    )


def _rows(days: Sequence[Day], fields: Sequence[str], start: int, end: int) -> Iterator[tuple[Any, ...]]:
    for day in days:
        places = day.places(start, end)
        some = slice(places.start, places.stop)
        begins = [day.start + place * day.span for place in places]
        columns = [
            begins if name == "start" else _shown(name, day.column(name)[some], begins, day.span)
            for name in fields
        ]
        versions = columns[-1]
        rows = zip(*columns, strict=True)
        yield from (row for row, version in zip(rows, versions, strict=True) if version)


def _shown(name: str, values: Sequence[Any], begins: Sequence[int], span: int) -> Sequence[Any]:
    """As people see it."""
    if name == "end":
        return [begin + span for begin in begins]
    if name.endswith("_mark"):
        return [_MARKS[Mark.MISSING if value is None else value] for value in values]
    if (per := _PER.get(name)) is not None:
        return [None if value is None else value / per for value in values]
    return values
