"""Hours and days summed up from committed readings, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import update

from bridge.ingest.rows import reading_of
from bridge.store.rollup import DAY, GRACE_MS, HOUR
from bridge.store.tables import DAY_MS, HOUR_MS, Due, Meter, Reading
from bridge.store.today import Used
from bridge.store.upkeep import Done, Policy, upkeep
from tests.support.stores import DAY0, NOW, Kept, keeping, row, series

pytest_plugins = ("tests.support.databases",)


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as kept:
        yield kept


def wh(seq: int, energy: float | None, *, minute: float, epoch: int = 1, **values: Any) -> tuple[Any, ...]:
    """A reading of meter 1, so many minutes after DAY0."""
    return row(1, seq, ts=DAY0 + round(minute * 60_000), epoch=epoch, energy=energy, **values)


def test_an_hour_in_figures(kept: Kept) -> None:
    kept.put(
        wh(1, 98_414.0, minute=10, voltage=230.0, power=-5.0),
        wh(2, 98_415.0, minute=20, voltage=231.0),
        wh(3, 98_420.0, minute=30, voltage=235.0, power=7.0, frequency=49.98),
    )
    assert kept.upkeep(pack_after=timedelta(days=30)) == Done(hours=1, days=1)
    (hour,) = kept.rollups(HOUR)
    assert (hour["start"], hour["readings"], hour["energy_used"]) == (DAY0, 3, 6.0)
    assert [hour[f"voltage_{what}"] for what in ("count", "min", "max", "mean")] == [3, 230, 235, 232]
    assert [hour[f"power_{what}"] for what in ("count", "min", "max", "mean")] == [2, -5, 7, 1]
    assert [hour[f"frequency_{what}"] for what in ("count", "min", "max", "mean")] == [1, 49.98, 49.98, 49.98]
    assert [hour[f"current_{what}"] for what in ("count", "min", "max", "mean")] == [0, None, None, None]
    assert (hour["energy_min"], hour["energy_max"]) == (98_414, 98_420)
    (day,) = kept.rollups(DAY)
    assert {**day, "span": HOUR} == hour


def test_a_day_is_its_hours(kept: Kept) -> None:
    kept.put(*(reading for reading in series(1, 24 * 60, step=60_000)), *series(2, 5))
    kept.upkeep()
    hours, (day,) = kept.rollups(HOUR), kept.rollups(DAY)
    assert (len(hours), day["readings"], day["energy_used"]) == (24, 1440, 1439)
    values = [reading.power_factor for reading in kept.readings() if reading.power_factor is not None]
    assert (day["power_factor_count"], day["power_factor_min"]) == (len(values), min(values))
    assert day["power_factor_mean"] == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert day["power_max"] == max(hour["power_max"] for hour in hours)


def test_a_step_over_the_hour_falls_into_the_hour_in_which_it_ends(kept: Kept) -> None:
    kept.put(wh(1, 100, minute=50), wh(2, 110, minute=59), wh(3, 125, minute=61), wh(4, 130, minute=500))
    kept.upkeep()
    assert kept.used() == {0: 10, 1: 15, 8: 5}


def test_a_reset_and_a_new_epoch_invent_nothing(kept: Kept) -> None:
    kept.put(
        wh(1, 5000, minute=1),
        wh(2, 5001, minute=2),
        wh(3, 0, minute=3),
        wh(4, 2, minute=4),
        wh(1, 777_777, minute=5, epoch=2),
        wh(2, 777_780, minute=6, epoch=2),
    )
    kept.upkeep()
    assert kept.used() == {0: 1 + 2 + 3}


PZEM = "PZEM-004T v3"
REGISTER = 2.0**32 - 1


def of_model(kept: Kept, model: str) -> None:
    """Say what meter 1 is."""
    with kept.engine.begin() as connection:
        connection.execute(update(Meter).values(model=model))


Case = tuple[list[float], float | None, int]
CASES: list[Case] = [
    ([98_414, 98_420, 0, 98_421], 7, 1),
    ([98_414, 98_420, REGISTER, 98_421], 7, 1),
    ([98_414, 98_420, 98_419, 98_421], 7, 1),
    ([98_414, 98_420, 3, 9, 15], 6 + 6 + 6, 0),
    ([98_414, 98_420, 0, 0, 2], 6 + 2, 0),
    ([98_414, 98_420, 500_000, 500_001, 500_004], 6 + 4, 1),
    ([98_414, 98_420, 0, REGISTER, 98_421], 7, 2),
    ([98_414, 98_420, REGISTER, 0, 98_421], 7, 2),
    ([98_414, 98_420, 0, 5, 98_421, 98_422], 6 + 5 + 1, 1),
    ([REGISTER, 98_414, 98_415], 1, 0),
    ([98_414, 98_420, 0], 6, 1),
    ([98_414, 98_420, REGISTER], 6, 1),
    ([9_999_984, 9_999_988, 1, 4], 4 + 3 + 3, 0),
    ([9_999_984, 9_999_988, 0, 9_999_989], 5, 1),
    ([98_414], None, 0),
    ([98_414, 0], None, 1),
]
"""What a counter tells, Wh used, and how many steps are left out."""
IN_TIME: list[Case] = [([98_414, 98_420, 103_420, 98_421], 7, 1), ([0, 98_414, 98_415], 1, 1)]
"""Rises that are too large for half a minute."""


@pytest.mark.parametrize(
    ("minutes", "model", "case"),
    [*((0.5, PZEM, case) for case in (*CASES, *IN_TIME)), *((25, "", case) for case in CASES)],
)
def test_odd_values_falsify_nothing(kept: Kept, minutes: float, model: str, case: Case) -> None:
    """In one hour, and over the borders of hours; summed up at once, and one by one as they come."""
    counter, used, doubtful = case
    first, *others = [wh(seq, value, minute=1 + seq * minutes) for seq, value in enumerate(counter)]
    kept.put(first)
    of_model(kept, model)
    for reading in others:
        kept.put(reading)
        kept.upkeep()
    kept.upkeep()
    hours, (day,) = kept.rollups(HOUR), kept.rollups(DAY)
    assert (day["energy_used"], day["energy_doubtful"]) == (used, doubtful)
    assert sum(hour["energy_doubtful"] for hour in hours) == doubtful
    assert kept.store.energy_used(kept.meter(), start=DAY0, end=DAY0 + DAY_MS) == Used(used, doubtful)
    assert [reading.energy for reading in kept.readings()] == counter, "what was read stays"
    with kept.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM rollup")
    kept.put(first, *others)
    assert kept.store.energy_used(kept.meter(), start=DAY0, end=DAY0 + DAY_MS) == Used(used, doubtful)
    kept.upkeep()
    assert kept.rollups(HOUR) == hours


def test_the_rating_bounds_a_rise(kept: Kept) -> None:
    """23 kW and a quarter for a PZEM-004T, three times as much for others, and what a meter reports."""
    kept.put(wh(1, 0, minute=0), wh(2, 40_000, minute=62), wh(3, 40_001, minute=63))
    of_model(kept, PZEM)
    kept.upkeep()
    assert sum(used or 0 for used in kept.used().values()) == 1
    of_model(kept, "some other")
    kept.put(wh(2, 40_000, minute=62))  # nothing new, but its hour is due
    kept.upkeep()
    assert sum(used or 0 for used in kept.used().values()) == 40_001
    kept.put(*(wh(seq, seq * 5_000, minute=600 + seq, power=250_000.0, epoch=2) for seq in range(4)))
    kept.upkeep()
    assert kept.used()[10] == 15_000


def test_a_frame_of_a_meter_without_mains_is_passed_over(kept: Kept) -> None:
    dead = [wh(seq, 0, minute=seq, voltage=0.0, frequency=0.0) for seq in (2, 3)]
    kept.put(wh(1, 100, minute=1), *dead, wh(4, 103, minute=4))
    kept.upkeep()
    assert kept.used() == {0: 3}


def test_days_without_a_reading(kept: Kept) -> None:
    """An outage of four days, and an odd value as it ends; then a reset in an outage."""
    day = 24 * 60
    kept.put(wh(1, 98_414, minute=1), wh(2, 98_420, minute=2), wh(3, 0, minute=4 * day))
    kept.upkeep()
    assert kept.used() == {0: 6, 96: None}
    kept.put(wh(4, 138_421, minute=4 * day + 70), wh(5, 138_422, minute=4 * day + 71))
    kept.upkeep()
    assert kept.used() == {0: 6, 96: None, 97: 40_002}
    kept.put(wh(6, 3, minute=8 * day), wh(7, 9, minute=8 * day + 1))
    kept.upkeep()
    assert kept.used() == {0: 6, 96: None, 97: 40_002, 192: 6}


def test_a_late_reading_decides_what_was_doubtful(kept: Kept) -> None:
    """The hours before and after it are summed up again."""
    kept.put(wh(1, 9_999_980, minute=50), wh(2, 1, minute=55), wh(6, 9_999_990, minute=130))
    kept.upkeep()
    assert kept.used() == {0: None, 2: 10}
    kept.put(wh(3, 2, minute=65))
    kept.upkeep()
    assert kept.used() == {0: 11, 1: 1, 2: None}
    kept.put(wh(5, 5, minute=125), wh(4, 4, minute=120))
    kept.upkeep()
    assert kept.used() == {0: 11, 1: 1, 2: 3}


@pytest.mark.parametrize("seed", range(3))
def test_odd_values_in_whatever_order(kept: Kept, seed: int) -> None:
    """Roll-ups made as the readings come in random order are those of a single pass over everything."""
    random = Random(seed)
    counter, readings = random.choice([9_999_900.0, 98_414.0]), []
    for seq in range(1, 241):
        counter = 0.0 if random.random() < 0.03 else counter + random.choice([0, 1, 20])
        counter -= 9_999_990 if counter >= 9_999_990 else 0
        odd = random.choice([0.0, REGISTER, random.uniform(0, 1e7)])
        told = odd if random.random() < 0.15 else counter
        readings.append(wh(seq, told, minute=7 * seq + random.random() * 20))
    random.shuffle(readings)
    for start in range(0, 240, 40):
        kept.put(*readings[start : start + 40])
        kept.upkeep(pack_after=timedelta(hours=random.choice([0, 1000])))
    by_hour = kept.rollups(HOUR)
    with kept.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM rollup")
    kept.put(*readings)
    kept.upkeep()
    assert kept.rollups(HOUR) == by_hour


def test_an_hour_without_a_step_has_no_energy_and_not_zero(kept: Kept) -> None:
    kept.put(wh(1, 5000, minute=1), wh(1, None, minute=61, epoch=2), wh(2, None, minute=62, epoch=2))
    kept.upkeep()
    assert kept.used() == {0: None, 1: None}


def test_readings_without_energy_are_passed_over(kept: Kept) -> None:
    kept.put(wh(1, 10, minute=1), wh(2, None, minute=2), wh(3, None, minute=61), wh(4, 14, minute=62))
    kept.upkeep()
    assert kept.used() == {0: None, 1: 4}


def test_a_late_reading_corrects_its_hour_and_the_one_after_it(kept: Kept) -> None:
    kept.put(wh(1, 100, minute=10), wh(9, 190, minute=130))
    kept.upkeep()
    assert kept.used() == {0: None, 2: 90}
    kept.put(*(wh(seq, 90 + seq * 10, minute=seq * 15) for seq in range(2, 9)))
    kept.upkeep()
    assert kept.used() == {0: 20, 1: 40, 2: 30}
    (day,) = kept.rollups(DAY)
    assert (day["readings"], day["energy_used"]) == (9, 90)


def test_a_clock_that_was_set_counts_nothing_twice(kept: Kept) -> None:
    minutes = [10, 11, 12, 200, 201, 13, 14]
    kept.put(*(wh(seq, 100 + seq, minute=minute) for seq, minute in enumerate(minutes, start=1)))
    kept.upkeep()
    assert kept.used() == {0: 4, 3: 2}


def test_the_running_hour_waits_until_it_is_over_for_all_clocks(kept: Kept) -> None:
    kept.put(wh(1, 1, minute=30), now=DAY0 + HOUR_MS // 2)
    end = DAY0 + HOUR_MS + GRACE_MS
    assert kept.upkeep(now=end - 1) == Done()
    assert kept.upkeep(now=end).hours == 1


def test_only_touched_hours_are_summed_again(kept: Kept) -> None:
    kept.put(*series(1, 24 * 60, step=60_000), *series(2, 24 * 60, step=60_000))
    assert kept.upkeep(pack_after=timedelta(days=30)).hours == 48
    assert kept.upkeep(pack_after=timedelta(days=30)) == Done()
    kept.put(row(2, 5000, ts=DAY0 + HOUR_MS))
    assert kept.upkeep(pack_after=timedelta(days=30)) == Done(hours=1, days=1)


def test_a_running_hour_is_noted_once_and_a_past_one_each_time(kept: Kept) -> None:
    now = DAY0 + 5 * HOUR_MS
    kept.put(row(1, 1, ts=now), row(1, 2, ts=now - HOUR_MS), now=now)
    kept.upkeep(now=now + GRACE_MS)
    assert kept.count(Due) == 3, "the running hour; the day, to be summed up and packed one day"
    kept.put(row(1, 3, ts=now + 1), row(1, 4, ts=now - HOUR_MS + 1), now=now)
    assert kept.upkeep(now=now + GRACE_MS).hours == 1
    assert [hour["readings"] for hour in kept.rollups(HOUR)] == [2]
    assert kept.upkeep(now=now + 2 * HOUR_MS).hours == 1
    assert [hour["readings"] for hour in kept.rollups(HOUR)] == [2, 2]


def test_stopped_at_any_moment_it_goes_on_where_it_was(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.store.upkeep._TURN_SECONDS", 0.0)
    kept.put(*series(1, 48 * 60, step=60_000))
    stops = 0
    while upkeep(kept.engine, Policy(), now=NOW, pause=lambda _seconds: True) is None:
        stops += 1
    assert stops > 48
    assert [day["readings"] for day in kept.rollups(DAY)] == [1440, 1440]
    assert sum(used or 0 for used in kept.used().values()) == 2879
    assert len(kept.readings()) == 2880


def test_the_hours_add_up_whatever_the_order(kept: Kept) -> None:
    """Against the counter itself: 600 readings in random order, in batches with upkeep between."""
    random = Random(61850)
    counter, readings = 0.0, []
    for seq in range(1, 601):
        counter += random.choice([0, 0.5, 1, 20])
        readings.append(wh(seq, counter, minute=seq + random.random()))
    expected = counter - (reading_of(readings[0]).energy or 0.0)
    random.shuffle(readings)
    for start in range(0, 600, 60):
        kept.put(*readings[start : start + 60])
        kept.upkeep()
    assert sum(used or 0 for used in kept.used().values()) == expected
    by_hour = kept.used()
    with keeping(kept.url) as again:  # what a single pass over everything gives
        with again.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM rollup")
        again.put(*readings)
        again.upkeep()
        assert again.used() == by_hour


def test_raw_readings_are_not_touched(kept: Kept) -> None:
    kept.put(*series(1, 500))
    before = kept.readings()
    kept.upkeep(pack_after=timedelta(days=30))
    assert (kept.count(Reading), kept.readings()) == (500, before)


def test_a_day_that_is_not_over_is_not_summed_up(kept: Kept) -> None:
    kept.put(*series(1, 1440, step=60_000))
    over = DAY0 + DAY_MS + 300_000
    assert kept.upkeep(now=over - 1).days == 0
    assert kept.rollups(DAY) == []
    assert kept.upkeep(now=over).days == 1
    assert [day["readings"] for day in kept.rollups(DAY)] == [1440]


def test_a_day_is_a_utc_day(kept: Kept) -> None:
    kept.put(row(1, 1, ts=DAY0 + DAY_MS - 1), row(1, 2, ts=DAY0 + DAY_MS))
    kept.upkeep()
    assert [day["start"] for day in kept.rollups(DAY)] == [DAY0, DAY0 + DAY_MS]
