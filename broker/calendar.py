"""Days and months in the time zone of the utility: a day has 23 or 25 hours where the clock changes.

>>> zurich = Calendar.named("Europe/Zurich")
>>> zurich.time("2026-11-23T12:00").isoformat(), zurich.time("2026-11-23T12:00Z").isoformat()
('2026-11-23T11:00:00+00:00', '2026-11-23T12:00:00+00:00')
>>> [period.hours for period in zurich.days(*zurich.month("2026-10")) if period.hours != 24]
[25.0]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from time import timezone
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.contract.errors import ConfigurationError

MOST_YEARS = 100
"""Of a range: nobody has readings of a longer time."""


File = Annotated[Path | None, BeforeValidator(lambda value: value or None)]
"""None for an empty text."""


class CalendarSettings(BaseSettings):
    """Where a day begins."""

    model_config = SettingsConfigDict(env_prefix="METER61850_", extra="forbid", frozen=True)

    time_zone: str = ""
    """The utility's time zone, such as Europe/Zurich: of days, months, and times without a zone. Default: the
    zone of this machine."""
    tariffs: File = None
    """TOML file that says which tariff is in force when (`meter61850 tariffs example`). With it each meter
    has registers per tariff in MMS. Default: there are no tariffs."""

    @property
    def calendar(self) -> Calendar:
        """ConfigurationError for a zone that this machine does not know."""
        return Calendar.named(self.time_zone) if self.time_zone else Calendar()


@dataclass(frozen=True)
class Period:
    """A day, a week or a month."""

    name: str
    """``2026-11-23``, ``2026-W48`` or ``2026-11``."""
    start: datetime
    end: datetime
    """Exclusive; both in UTC."""

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.end - self.start) / timedelta(hours=1)


@dataclass(frozen=True)
class Calendar:
    """A time zone; None is the one of this machine."""

    zone: ZoneInfo | None = None

    @classmethod
    def named(cls, name: str) -> Calendar:
        """Of the IANA zone ``name``; ConfigurationError for a zone that this machine does not know."""
        try:
            return cls(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ConfigurationError(
                f"time zone {name[:64]!r}: use a name such as Europe/Zurich or UTC (Debian: package tzdata)"
            ) from error

    def utc(self, moment: datetime) -> datetime:
        """``moment`` in UTC; one without a zone is of this calendar.

        Of an hour that the clock shows twice the first one is meant.
        """
        if moment.tzinfo is None and self.zone is not None:
            moment = moment.replace(tzinfo=self.zone)
        return moment.astimezone(UTC)

    def time(self, text: str) -> datetime:
        """A date (its beginning), a local time, or a time with its zone (RFC 3339), in UTC; ValueError."""
        try:
            return self.utc(datetime.fromisoformat(text))
        except OverflowError as error:
            raise ValueError(f"{text!r} is in no year that we know") from error

    def local(self, moment: datetime) -> datetime:
        """``moment`` as the clocks show it."""
        return moment.astimezone(self.zone)

    def standard_offset(self, moment: datetime) -> timedelta:
        """What standard time is ahead of UTC there, without daylight saving."""
        local = self.local(moment)
        if self.zone is None:
            return timedelta(seconds=-timezone)
        return (local.utcoffset() or timedelta()) - (local.dst() or timedelta())

    def month(self, text: str) -> tuple[datetime, datetime]:
        """Begin and end (exclusive) of a local month such as ``2026-11``, in UTC; ValueError."""
        try:
            if not re.fullmatch(r"\d{4}-\d{2}", text):
                raise ValueError("another form")
            first = date.fromisoformat(f"{text}-01")
            return self._begins(first), self._begins(_next_month(first))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{text!r} is no month: 2026-11 is one") from error

    def week(self, text: str) -> Period:
        """The local week (ISO 8601: it begins on Monday) such as ``2026-W48``; ValueError."""
        try:
            if not re.fullmatch(r"\d{4}-W\d{2}", text):
                raise ValueError("another form")
            monday = date.fromisoformat(f"{text}-1")
            return Period(text, self._begins(monday), self._begins(monday + timedelta(days=7)))
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{text!r} is no week: 2026-W48 is one") from error

    def week_of(self, moment: datetime) -> Period:
        """The local week that ``moment`` is in."""
        return self.week(self.local(moment).strftime("%G-W%V"))

    def week_before(self, moment: datetime) -> Period:
        """The last local week that is over; where the clock changes 7 days ago may be in the one before."""
        return self.week_of(self.week_of(moment).start - timedelta(milliseconds=1))

    def days(self, start: datetime, end: datetime) -> Iterator[Period]:
        """The whole days in this time."""
        return self._periods(start, end, first=self.local(start).date(), following=_next_day, name="%Y-%m-%d")

    def months(self, start: datetime, end: datetime) -> Iterator[Period]:
        """The whole months in this time."""
        first = self.local(start).date().replace(day=1)
        return self._periods(start, end, first=first, following=_next_month, name="%Y-%m")

    def _periods(
        self, start: datetime, end: datetime, *, first: date, following: Callable[[date], date], name: str
    ) -> Iterator[Period]:
        for day, after in pairwise(_from(first, following)):
            period = Period(day.strftime(name), self._begins(day), self._begins(after))
            if period.end > end:
                return
            if period.start >= start:
                yield period

    def _begins(self, day: date) -> datetime:
        return self.utc(datetime.combine(day, time()))


def _from(day: date, following: Callable[[date], date]) -> Iterator[date]:
    last = min(date.max.year - 1, day.year + MOST_YEARS)
    while day.year <= last:
        yield day
        day = following(day)


def _next_day(day: date) -> date:
    return day + timedelta(days=1)


def _next_month(day: date) -> date:
    return (day + timedelta(days=31)).replace(day=1)
