"""The calendar of tariffs: seasons, holidays, midnight, changes of the clock, versions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.store.tariff_file import File
from bridge.store.tariffs import EXAMPLE, Tariffs, load, parse
from broker.calendar import Calendar
from broker.contract.errors import ConfigurationError

ZURICH = ZoneInfo("Europe/Zurich")
VERSION = '[[version]]\nfrom = 2026-01-01\ndefault = "T2"\n'
ROW = '[[version.times]]\ntariff = "T1"\n'


def of(text: str, *, zone: str = "Europe/Zurich") -> Tariffs:
    """The calendar in ``text``."""
    return parse(text, source="tariffs.toml", calendar=Calendar.named(zone))


def at(tariffs: Tariffs, local: str, *, fold: int = 0) -> str:
    """The tariff at a time in Zürich; ``fold`` 1 is the second one of an hour that comes twice."""
    return tariffs.tariff_at(datetime.fromisoformat(local).replace(tzinfo=ZURICH, fold=fold))


def test_the_first_row_that_fits_decides() -> None:
    night, day = ROW + 'hours = ["06:00-12:00"]\n', ROW.replace("T1", "T3") + 'hours = ["10:00-14:00"]\n'
    tariffs = of(VERSION + night + day)
    times = ("05:59", "06:00", "11:59", "12:00", "13:59", "14:00")
    assert [at(tariffs, f"2026-05-05 {time}") for time in times] == ["T2", "T1", "T1", "T3", "T3", "T2"]
    assert at(of(VERSION + day + night), "2026-05-05 11:00") == "T3"


def test_several_hours_and_the_end_of_the_day() -> None:
    tariffs = of(VERSION + ROW + 'hours = ["00:00-01:05", "22:00-24:00"]')
    times = ("00:00", "01:04", "01:05", "21:59", "22:00", "23:59")
    assert [at(tariffs, f"2026-05-05 {time}") for time in times] == ["T1", "T1", "T2", "T2", "T1", "T1"]


def test_a_season_over_new_year_has_both_of_its_days() -> None:
    winter = of(VERSION + ROW + 'season = { from = "11-01", until = "03-31" }')
    days = ("2026-03-31", "2026-04-01", "2026-10-31", "2026-11-01", "2026-12-31", "2027-01-01")
    assert [at(winter, f"{day} 12:00") for day in days] == ["T1", "T2", "T2", "T1", "T1", "T1"]
    summer = of(VERSION + ROW + 'season = { from = "04-01", until = "10-31" }')
    assert [at(summer, f"{day} 12:00") for day in days] == ["T2", "T1", "T1", "T2", "T2", "T2"]


def test_a_season_of_a_leap_day() -> None:
    tariffs = of(VERSION + ROW + 'season = { from = "02-29", until = "02-29" }')
    assert [at(tariffs, f"{day} 12:00") for day in ("2027-02-28", "2027-03-01", "2028-02-29")] == [
        "T2", "T2", "T1",
    ]  # fmt: skip


# fmt: off
DAYS = [
    ('["workday"]',        "T1 T1 T2 T1 T1 T2 T2"),
    ('["weekend"]',        "T2 T2 T2 T2 T2 T1 T1"),
    ('["holiday"]',        "T2 T2 T1 T2 T2 T2 T2"),
    ('["wed"]',            "T2 T2 T2 T2 T2 T2 T2"),
    ('["holiday", "sun"]', "T2 T2 T1 T2 T2 T2 T1"),
    (None,                 "T1 T1 T1 T1 T1 T1 T1"),
]
# fmt: on


@pytest.mark.parametrize(("days", "expected"), DAYS)
def test_a_holiday_is_no_other_day(days: str | None, expected: str) -> None:
    """Of the week from Monday 2026-11-23, whose Wednesday is one."""
    row = ROW + (f"days = {days}" if days else "")
    tariffs = of(f"{VERSION}holidays = [2026-11-25]\n{row}")
    assert " ".join(at(tariffs, f"2026-11-{day} 12:00") for day in range(23, 30)) == expected


def test_hours_over_midnight_belong_to_the_day_on_which_they_begin() -> None:
    tariffs = of(f'{VERSION}holidays = [2026-11-25]\n{ROW}days = ["tue", "sun"]\nhours = ["22:00-06:00"]')
    expected = {
        "2026-11-22 22:00": "T1", "2026-11-23 05:59": "T1", "2026-11-23 06:00": "T2",  # Sunday
        "2026-11-24 05:00": "T2", "2026-11-24 22:00": "T1",  # Tuesday
        "2026-11-25 05:59": "T1", "2026-11-25 22:00": "T2", "2026-11-26 05:00": "T2",  # the holiday
    }  # fmt: skip
    assert {time: at(tariffs, time) for time in expected} == expected
    season = of(f'{VERSION}{ROW}season = {{ from = "04-01", until = "10-31" }}\nhours = ["22:00-06:00"]')
    assert [at(season, time) for time in ("2026-04-01 05:00", "2026-11-01 05:00", "2026-11-01 06:00")] == [
        "T2", "T1", "T2",
    ]  # fmt: skip


def test_the_hour_that_is_left_out_and_the_one_that_comes_twice() -> None:
    tariffs = of(f'{VERSION}{ROW}hours = ["02:30-03:30"]')
    expected = {
        "2026-03-29 00:30": "T2", "2026-03-29 01:00": "T1", "2026-03-29 01:30": "T2",  # 03:00 after 01:59
        "2026-10-25 00:00": "T2", "2026-10-25 00:30": "T1", "2026-10-25 00:59": "T1",  # 02:30, the first one
        "2026-10-25 01:00": "T2", "2026-10-25 01:30": "T1", "2026-10-25 02:30": "T2",  # the second one
    }  # fmt: skip
    told = {time: tariffs.tariff_at(datetime.fromisoformat(f"{time}Z")) for time in expected}
    assert told == expected
    assert at(tariffs, "2026-10-25 02:45") == at(tariffs, "2026-10-25 02:45", fold=1) == "T1"


@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-29", [15.0, 8.0]), ("2026-03-30", [16.0, 8.0]), ("2026-10-25", [17.0, 8.0])]
)
def test_the_hours_of_a_day_on_which_the_clock_changes(day: str, hours: list[float]) -> None:
    tariffs = of(f'{VERSION}{ROW}hours = ["08:00-16:00"]')
    begin = datetime.fromisoformat(day).replace(tzinfo=ZURICH)
    end = (begin + timedelta(days=1)).astimezone(UTC)
    changes = [*tariffs.changes(begin, end)]
    assert [change.tariff for change in changes] == ["T2", "T1", "T2"]
    night, middle, evening, last = (*(change.at for change in changes), end)
    found = [(middle - night) + (last - evening), evening - middle]
    assert [length / timedelta(hours=1) for length in found] == hours


def test_a_version_holds_from_its_first_day_until_the_next_one() -> None:
    """In whatever order they are in the file; its rows also decide about the night before it."""
    later = VERSION.replace("2026", "2027").replace("T2", "T4") + ROW.replace("T1", "T3")
    tariffs = of(f'{later}hours = ["23:00-01:00"]\n{VERSION}holidays = [2026-12-31]\n')
    times = ("2026-01-01 00:00", "2026-12-31 23:59", "2027-01-01 00:00", "2027-01-01 01:00")
    assert [at(tariffs, time) for time in times] == ["T2", "T2", "T3", "T4"]
    assert tariffs.tariffs == ("T2", "T3", "T4")
    assert tariffs.begin == datetime(2025, 12, 31, 23, tzinfo=UTC)
    with pytest.raises(ConfigurationError, match=r"no version holds on 2025-12-31: .* on 2026-01-01"):
        at(tariffs, "2025-12-31 23:59")


def test_the_night_before_a_version_has_the_holidays_of_its_own_version() -> None:
    later = VERSION.replace("2026", "2027") + ROW + 'days = ["holiday"]\nhours = ["23:00-01:00"]\n'
    tariffs = of(f"{VERSION}holidays = [2026-12-31]\n{later}")
    assert at(tariffs, "2027-01-01 00:30") == "T1"
    assert at(of(VERSION + later), "2027-01-01 00:30") == "T2"


def test_the_zone_of_the_file_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = f'{VERSION}{ROW}hours = ["12:00-13:00"]'
    noon = datetime(2026, 5, 5, 12, tzinfo=UTC)
    file = tmp_path / "tariffs.toml"
    file.write_text(text)
    monkeypatch.setenv("METER61850_TIME_ZONE", "Asia/Tokyo")
    assert load(file).tariff_at(noon - timedelta(hours=9)) == "T1"
    assert load(file, zone="UTC").tariff_at(noon) == "T1"
    file.write_text(f'time_zone = "Europe/Zurich"\n{text}')
    assert load(file, zone="UTC").tariff_at(noon - timedelta(hours=2)) == "T1"


def test_the_example_and_its_hours_a_week() -> None:
    tariffs = load(EXAMPLE)
    first, second = tariffs.versions
    assert [(week.first, week.last, week.hours) for week in tariffs.weeks(first)] == [
        ("04-01", "10-31", {"T1": 65.0, "T2": 87.0, "T3": 16.0}),
        ("11-01", "03-31", {"T1": 75.0, "T2": 77.0, "T3": 16.0}),
    ]
    (week,) = tariffs.weeks(second)
    assert (week.is_all_year, week.hours) == (True, {"T1": 168.0})
    moment = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert (tariffs.name("T1", moment), tariffs.name("T4", moment), tariffs.newest_name("T2")) == (
        "High", "", "Low",
    )  # fmt: skip


# --- a plain reference -------------------------------------------------------------------------------

KINDS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday", "workday", "weekend")
TARIFF = st.integers(1, 8).map("T{}".format)
CLOCK = st.integers(0, 287).map(lambda five: f"{five // 12:02d}:{five % 12 * 5:02d}")
HOURS = st.tuples(CLOCK, CLOCK).filter(lambda pair: pair[0] != pair[1]).map("-".join)
YEAR_DAY = st.dates(date(2028, 1, 1), date(2028, 12, 31)).map(lambda day: f"{day:%m-%d}")
ROWS = st.fixed_dictionaries(
    {"tariff": TARIFF},
    optional={
        "season": st.fixed_dictionaries({"from": YEAR_DAY, "until": YEAR_DAY}),
        "days": st.lists(st.sampled_from(KINDS), min_size=1, max_size=3),
        "hours": st.lists(HOURS, min_size=1, max_size=3),
    },
)
DATES = st.dates(date(2026, 3, 20), date(2026, 11, 5))
VERSIONS = st.fixed_dictionaries(
    {
        "default": TARIFF,
        "holidays": st.lists(DATES, max_size=20),
        "times": st.lists(ROWS, max_size=4),
    }
)
FILES = st.tuples(VERSIONS, VERSIONS, DATES).map(
    lambda told: [{"from": date(2026, 1, 1), **told[0]}, {"from": told[2], **told[1]}]
)
NEAR = st.sampled_from([datetime(2026, 3, 29, 1), datetime(2026, 10, 25, 1), datetime(2026, 6, 1)])
INSTANTS = st.builds(lambda near, minutes: near + timedelta(minutes=minutes), NEAR, st.integers(-9000, 9000))


def plain(versions: list[dict[str, Any]], instant: datetime, zone: ZoneInfo) -> str:
    """The tariff by what the file says, with times written out as the clock shows them."""
    clock = instant.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    *_, version = [one for one in versions if one["from"] <= clock.date()]
    for row in version["times"]:
        for day in (clock.date(), clock.date() - timedelta(days=1)):
            *_, of_day = [one for one in versions if one["from"] <= day]
            if is_of(row, day, of_day["holidays"]) and any(
                begin <= clock < end for begin, end in spans(row, day)
            ):
                return str(row["tariff"])
    return str(version["default"])


def is_of(row: dict[str, Any], day: date, holidays: list[date]) -> bool:
    """Whether a row is of this day, by season and kind."""
    if (season := row.get("season")) is not None:
        begin, end, this = season["from"], season["until"], f"{day:%m-%d}"
        inside = begin <= this <= end if begin <= end else not end < this < begin
        if not inside:
            return False
    if day in holidays:
        kinds = {"holiday"}
    else:
        kinds = {f"{day:%a}".lower(), "weekend" if day.weekday() > 4 else "workday"}
    return "days" not in row or bool(kinds & set(row["days"]))


def spans(row: dict[str, Any], day: date) -> list[tuple[datetime, datetime]]:
    """Begin and end of the hours of this day."""
    found = []
    for text in row.get("hours", ["00:00-24:00"]):
        begin, end = (
            datetime(day.year, day.month, day.day) + timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))
            for clock in text.split("-")
        )
        found.append((begin, end if begin < end else end + timedelta(days=1)))
    return found


@settings(deadline=None, max_examples=300)
@given(FILES, INSTANTS, st.sampled_from(["Europe/Zurich", "Australia/Lord_Howe", "UTC"]))
def test_it_agrees_with_a_plain_reference(
    versions: list[dict[str, Any]], instant: datetime, name: str
) -> None:
    if versions[1]["from"] == versions[0]["from"]:
        return
    tariffs = Tariffs("x", File.model_validate({"version": versions}), Calendar.named(name))
    moment = instant.replace(tzinfo=UTC)
    assert tariffs.tariff_at(moment) == plain(versions, instant, ZoneInfo(name))
    *_, last = tariffs.changes(moment - timedelta(days=3), moment + timedelta(minutes=1))
    assert last.tariff == tariffs.tariff_at(moment), "a change is missed"
