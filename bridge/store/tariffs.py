"""The calendar of tariffs: which of T1 to T8 is in force at a time, by the local clock.

A version of the calendar holds from its first day until the next version begins. The first row of ``times``
that fits decides, and ``default`` if none does. Hours over midnight belong to the day on which they begin,
with its weekday, its season and its holiday; the rows are those of the version that holds at the moment.
Where the clock changes, the wall clock decides: an hour that it shows twice has the same tariff twice.

>>> tariffs = parse(EXAMPLE.read_text(), source="example", calendar=Calendar.named("UTC"))
>>> tariffs.tariff_at(datetime.fromisoformat("2026-11-23T11:00+01:00"))
'T1'
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from bridge.store.tariff_file import DAY_MINUTES, GRID, PARTS, Days, File, Season, Tariff, Times, Version
from bridge.store.toml_file import read, text_of
from broker.calendar import Calendar, CalendarSettings
from broker.contract.errors import ConfigurationError

EXAMPLE = Path(__file__).with_name("tariffs.example.toml")
"""The reference: every key, explained (`meter61850 tariffs example`)."""
_WEEKDAYS: tuple[Days, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_STEP, _DAY = timedelta(minutes=GRID), timedelta(days=1)
_LEAP_YEAR = 2028


class Change(NamedTuple):
    """From ``at`` (UTC) this tariff is in force."""

    at: datetime
    tariff: Tariff


class Week(NamedTuple):
    """The hours that each tariff has in a week without holidays, in one season of a version."""

    first: str
    """Month and day, such as 11-01; of all the year 01-01."""
    last: str
    hours: dict[Tariff, float]

    @property
    def is_all_year(self) -> bool:
        """Whether the version has no seasons."""
        return (self.first, self.last) == ("01-01", "12-31")


class _Kind(NamedTuple):
    """What the rows look at in a day."""

    month_day: tuple[int, int]
    day: Days
    """A weekday or ``holiday``."""


@dataclass(frozen=True)
class Tariffs:
    """The calendar in one file."""

    source: str
    """Name of the file, for messages."""
    file: File
    calendar: Calendar
    """Of its local times."""

    @cached_property
    def versions(self) -> tuple[Version, ...]:
        """By their first days."""
        return tuple(sorted(self.file.version, key=lambda version: version.first))

    @property
    def begin(self) -> datetime:
        """When the first version begins; there is no tariff before."""
        return self._midnight(self.versions[0].first)

    @cached_property
    def tariffs(self) -> tuple[Tariff, ...]:
        """All that the file names, T1 first."""
        return tuple(sorted({tariff for version in self.versions for tariff in version.tariffs}))

    def name(self, tariff: Tariff, moment: datetime) -> str:
        """How the version that holds at this time calls it; empty if it has no name."""
        return self._version(self.calendar.local(moment).date()).names.get(tariff, "")

    def newest_name(self, tariff: Tariff) -> str:
        """How the newest version that names it calls it; empty if none does."""
        return next((v.names[tariff] for v in reversed(self.versions) if tariff in v.names), "")

    def tariff_at(self, moment: datetime) -> Tariff:
        """The tariff in force; ConfigurationError before the first version."""
        local = self.calendar.local(moment)
        version, today = self._version(local.date()), local.date()
        minute = 60 * local.hour + local.minute
        return _tariff(version, self._kind(today), self._kind(today - _DAY), minute)

    def changes(self, start: datetime, end: datetime) -> Iterator[Change]:
        """The tariff at ``start``, and each change before ``end``; ConfigurationError as `tariff_at`."""
        current = self.tariff_at(start)
        yield Change(start.astimezone(UTC), current)
        day = self.calendar.local(start).date()
        while (midnight := self._midnight(day)) < end:
            for at in self._candidates(day, midnight):
                if start < at < end and (tariff := self.tariff_at(at)) != current:
                    current = tariff
                    yield Change(at, tariff)
            day += _DAY

    def weeks(self, version: Version) -> Iterator[Week]:
        """A week of each season of a version; days of the same rows that follow each other are one season."""
        seasons = [row.season for row in version.times]
        days = [date(_LEAP_YEAR, 1, 1) + _DAY * number for number in range(366)]
        fits = [tuple(_in_season(season, (day.month, day.day)) for season in seasons) for day in days]
        begins = [number for number in range(366) if fits[number] != fits[number - 1]] or [0]
        for begin, after in zip(begins, [*begins[1:], begins[0]], strict=True):
            first, last = days[begin], days[after - 1]
            yield Week(f"{first:%m-%d}", f"{last:%m-%d}", _week(version, (first.month, first.day)))

    def _version(self, day: date) -> Version:
        first = self.versions[0].first
        if day < first:
            raise ConfigurationError(f"{self.source}: no version holds on {day}: the first begins on {first}")
        return self._nearest(day)

    def _kind(self, day: date) -> _Kind:
        is_holiday = day in self._nearest(day).holidays
        return _Kind((day.month, day.day), "holiday" if is_holiday else _WEEKDAYS[day.weekday()])

    def _nearest(self, day: date) -> Version:
        """The version that holds on a day; before all of them the first."""
        place = bisect_right([version.first for version in self.versions], day)
        return self.versions[max(0, place - 1)]

    def _midnight(self, day: date) -> datetime:
        return self.calendar.utc(datetime.combine(day, time()))

    def _candidates(self, day: date, begin: datetime) -> Iterator[datetime]:
        """All times of a local day at which the tariff can change, in UTC."""
        end = self._midnight(day + _DAY)
        if end - begin != _DAY:  # the clock changes
            yield from (begin + _STEP * number for number in range((end - begin) // _STEP))
            return
        version = self._version(day)
        edges = {0} | {edge % DAY_MINUTES for row in version.times for span in row.spans for edge in span}
        yield from (begin + timedelta(minutes=edge) for edge in sorted(edges))


def load(path: Path, *, zone: str | None = None) -> Tariffs:
    """The calendar in a file. ``zone`` is for a file that names no time zone; default: of the settings.

    ConfigurationError names the file, the version and the row, the value, and what would be right.
    """
    text = text_of(path, example="meter61850 tariffs example")
    return parse(text, source=str(path), calendar=Calendar.named(zone) if zone else None)


def parse(text: str, *, source: str, calendar: Calendar | None = None) -> Tariffs:
    """The calendar in ``text``; as `load`, with ``source`` for the name of the file."""
    file = read(text, File, source=source, parts=PARTS)
    zone = Calendar.named(file.time_zone) if file.time_zone else calendar
    return Tariffs(source, file, zone or CalendarSettings().calendar)


def _tariff(version: Version, today: _Kind, before: _Kind, minute: int) -> Tariff:
    """At this minute of a day, after the day ``before``."""
    for row in version.times:
        if _fits(row, today, minute) or _fits(row, before, minute + DAY_MINUTES):
            return row.tariff
    return version.default


def _fits(row: Times, kind: _Kind, minute: int) -> bool:
    return (
        any(begin <= minute < end for begin, end in row.spans)
        and kind.day in row.kinds
        and _in_season(row.season, kind.month_day)
    )


def _in_season(season: Season | None, month_day: tuple[int, int]) -> bool:
    if season is None:
        return True
    if season.first <= season.last:
        return season.first <= month_day <= season.last
    return month_day >= season.first or month_day <= season.last


def _week(version: Version, month_day: tuple[int, int]) -> dict[Tariff, float]:
    found = dict.fromkeys(sorted(version.tariffs), 0)
    for place, day in enumerate(_WEEKDAYS):
        today, before = _Kind(month_day, day), _Kind(month_day, _WEEKDAYS[place - 1])
        for minute in range(0, DAY_MINUTES, GRID):
            found[_tariff(version, today, before, minute)] += GRID
    return {tariff: minutes / 60 for tariff, minutes in found.items()}
