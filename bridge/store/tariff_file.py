"""The file of a tariff calendar: its keys, what each may be, and what is said of a wrong one.

>>> Times.model_validate({"hours": ["22:00-06:00"], "tariff": "T2"}).spans
((1320, 1800),)
"""

from __future__ import annotations

import re
from datetime import date
from functools import cached_property
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import model_validator as checked

from broker.calendar import Calendar

GRID = 5
"""Minutes: all times are whole multiples of it."""
DAY_MINUTES = 24 * 60
Tariff = Literal["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Days = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday", "workday", "weekend"]
_GROUPS: dict[Days, tuple[Days, ...]] = {
    "workday": ("mon", "tue", "wed", "thu", "fri"),
    "weekend": ("sat", "sun"),
}
EVERY: frozenset[Days] = frozenset(get_args(Days)) - _GROUPS.keys()
"""Kinds of days: a day is one of these."""
_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_LEAP_YEAR = 2028
_MAX_NAME = 64


def _date(value: object) -> object:
    """A date of TOML, and nothing else: no text, no number, no time."""
    if type(value) is not date:
        raise ValueError("use a date without quotes, such as 2026-12-25")
    return value


def _zone(name: str) -> str:
    Calendar.named(name)
    return name


def _month_day(text: str) -> str:
    try:
        if re.fullmatch(r"\d\d-\d\d", text, re.ASCII):
            date.fromisoformat(f"{_LEAP_YEAR}-{text}")
            return text
    except ValueError:
        pass
    raise ValueError('use month and day, such as "11-01"')


def _span(text: str) -> tuple[int, int]:
    """Minutes of the day on which it begins; over midnight the end is more than a day."""
    match = _HOURS.fullmatch(text)
    hour, minute, to_hour, to_minute = map(int, match.groups()) if match else (99, 0, 0, 0)
    begin, end = 60 * hour + minute, 60 * to_hour + to_minute
    if max(minute, to_minute) > 59 or begin >= DAY_MINUTES or end > DAY_MINUTES:
        raise ValueError('use times from 00:00 to 24:00, such as "06:00-22:00"')
    if begin % GRID or end % GRID:
        raise ValueError(f"use whole {GRID} minutes, such as 06:00 or 06:05")
    if begin == end:
        raise ValueError('it has no length: a whole day is "00:00-24:00"')
    return begin, end if begin < end else end + DAY_MINUTES


def _hours(text: str) -> str:
    _span(text)
    return text


Date = Annotated[date, BeforeValidator(_date)]
MonthDay = Annotated[str, AfterValidator(_month_day)]
Zone = Annotated[str, AfterValidator(_zone)]


class Part(BaseModel):
    """A table of the file: no other keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Season(Part):
    """From a day of the year to another one, both inclusive; it may go over new year."""

    from_: MonthDay = Field(alias="from")
    until: MonthDay

    @cached_property
    def first(self) -> tuple[int, int]:
        """Month and day."""
        return int(self.from_[:2]), int(self.from_[3:])

    @cached_property
    def last(self) -> tuple[int, int]:
        """Month and day."""
        return int(self.until[:2]), int(self.until[3:])


class Times(Part):
    """A row: when a tariff is in force."""

    season: Season | None = None
    """None: all the year."""
    days: Annotated[frozenset[Days], Field(min_length=1)] = EVERY
    hours: Annotated[tuple[Annotated[str, AfterValidator(_hours)], ...], Field(min_length=1)] = (
        "00:00-24:00",
    )
    tariff: Tariff

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Minutes from the beginning of the day, end exclusive; more than a day over midnight."""
        return tuple(map(_span, self.hours))

    @cached_property
    def kinds(self) -> frozenset[Days]:
        """Of `EVERY`."""
        return frozenset(kind for day in self.days for kind in _GROUPS.get(day, (day,)))


class Version(Part):
    """The calendar from a day on."""

    first: Date = Field(alias="from")
    default: Tariff
    names: dict[Tariff, Annotated[str, Field(min_length=1, max_length=_MAX_NAME)]] = {}
    holidays: frozenset[Date] = frozenset()
    times: tuple[Times, ...] = ()

    @cached_property
    def tariffs(self) -> frozenset[Tariff]:
        """All that it names."""
        return frozenset({self.default, *self.names, *(row.tariff for row in self.times)})


class File(Part):
    """The whole file."""

    time_zone: Zone | None = None
    """None: that of the settings."""
    version: Annotated[tuple[Version, ...], Field(min_length=1)]

    @checked(mode="after")
    def _one_of_a_day(self) -> Self:
        known: dict[date, int] = {}
        for number, version in enumerate(self.version, 1):
            if (other := known.setdefault(version.first, number)) != number:
                raise ValueError(
                    f"version {number}, from: {version.first}: as version {other}: use another day"
                )
        return self


PARTS: dict[str, type[BaseModel]] = {"": File, "version": Version, "times": Times, "season": Season}
"""What each table of the file can have, by its name."""
