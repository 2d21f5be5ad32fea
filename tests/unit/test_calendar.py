"""Days and months of a time zone: of 23 and 25 hours where the clock changes, without a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from admin.times import point, span
from broker.calendar import Calendar, CalendarSettings
from broker.contract.errors import ConfigurationError

ZURICH = Calendar.named("Europe/Zurich")


# fmt: off
MONTHS = [
    ("Europe/Zurich",       "2026-03", 31, {"2026-03-29": 23.0}),
    ("Europe/Zurich",       "2026-10", 31, {"2026-10-25": 25.0}),
    ("Australia/Lord_Howe", "2026-04", 30, {"2026-04-05": 24.5}),
    ("America/Santiago",    "2026-09", 30, {"2026-09-06": 23.0}),  # there is no midnight
    ("Asia/Kathmandu",      "2026-02", 28, {}),
    ("UTC",                 "2028-02", 29, {}),
]
# fmt: on


@pytest.mark.parametrize(("zone", "month", "days", "odd"), MONTHS)
def test_the_days_of_a_month_follow_each_other(
    zone: str, month: str, days: int, odd: dict[str, float]
) -> None:
    calendar = Calendar.named(zone)
    start, end = calendar.month(month)
    found = list(calendar.days(start, end))
    assert [period.name for period in found] == [f"{month}-{day:02d}" for day in range(1, days + 1)]
    assert {period.name: period.hours for period in found if period.hours != 24} == odd
    assert (found[0].start, found[-1].end) == (start, end)
    assert all(one.end == other.start for one, other in pairwise(found))
    (whole,) = calendar.months(start, end)
    assert (whole.name, whole.start, whole.end) == (month, start, end)


def test_only_whole_periods_count() -> None:
    start, end = ZURICH.month("2026-11")
    second, minute = timedelta(seconds=1), timedelta(minutes=1)
    assert [p.name for p in ZURICH.days(start + second, start + timedelta(days=3) - second)] == ["2026-11-02"]
    assert list(ZURICH.months(start, end - minute)) == []
    assert [p.name for p in ZURICH.months(start - timedelta(days=40), end + minute)] == ["2026-10", "2026-11"]
    assert list(ZURICH.days(end, start)) == []


def test_times_are_local_without_a_zone() -> None:
    assert ZURICH.time("2026-11-23") == datetime(2026, 11, 22, 23, tzinfo=UTC)
    assert ZURICH.time("2026-07-01 12:00") == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert ZURICH.time("2026-10-25T02:30") == datetime(2026, 10, 25, 0, 30, tzinfo=UTC), "the first of two"
    assert ZURICH.time("2026-11-23T12:00-05:00") == datetime(2026, 11, 23, 17, tzinfo=UTC)


def test_the_machines_zone_without_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METER61850_TIME_ZONE", raising=False)
    told = CalendarSettings().calendar.time("2026-11-23")
    assert told == datetime(2026, 11, 23).astimezone()
    monkeypatch.setenv("METER61850_TIME_ZONE", "Asia/Tokyo")
    assert CalendarSettings().calendar.time("2026-11-23") == datetime(2026, 11, 22, 15, tzinfo=UTC)
    assert point("2026-11-23", option="--from") == datetime(2026, 11, 22, 15, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Europe/Zurick", "../etc/passwd", "", "\0", "Europe"])
def test_an_unknown_zone_is_named(zone: str) -> None:
    with pytest.raises(ConfigurationError, match="time zone"):
        Calendar.named(zone)


@pytest.mark.parametrize("text", ["2026-13", "2026", "november", "9999-12", "0001-01", "2026-11-01"])
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--month"):
        span(None, None, text, calendar=ZURICH)


def test_a_range_of_the_command_line() -> None:
    start, end = span("2026-11-01", "2026-12-01", None, calendar=ZURICH)
    assert (start, end) == span(None, None, "2026-11", calendar=ZURICH) == ZURICH.month("2026-11")
    with pytest.raises(ConfigurationError, match="choose one"):
        span("1d", None, "2026-11", calendar=ZURICH)
    with pytest.raises(ConfigurationError, match="not before"):
        span("2026-11-02", "2026-11-02", None, calendar=ZURICH)
    with pytest.raises(ConfigurationError, match="--until 'soon'"):
        span(None, "soon", None, calendar=ZURICH)


@pytest.mark.parametrize("monday", ["2026-03-30T00:30", "2026-10-26T00:30"])
def test_the_last_week_in_the_first_hour_after_a_change_of_the_clock(monday: str) -> None:
    """168 hours before it is Sunday of the week before the last, if that had 167."""
    now = ZURICH.time(monday)
    assert ZURICH.week_before(now).end == ZURICH.week_of(now).start
