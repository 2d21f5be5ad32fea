"""The energy of the running day: what its roll-up will say, whatever was summed up, packed, late or reset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from random import Random

import pytest
from sqlalchemy import update
from sqlmodel import col

from bridge.ingest.rows import Row, reading_of
from bridge.store.rollup import GRACE_MS
from bridge.store.tables import DAY_MS, HOUR_MS, Meter
from tests.support.stores import DAY0, Kept, keeping, row

pytest_plugins = ("tests.support.databases",)


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as kept:
        yield kept


def wh(seq: int, energy: float | None, *, minute: float, epoch: int = 1) -> Row:
    """A reading of meter 1, so many minutes after DAY0."""
    return row(1, seq, ts=DAY0 + round(minute * 60_000), epoch=epoch, energy=energy)


def used(kept: Kept, day: int = DAY0) -> float | None:
    """Wh of the day until now."""
    return kept.store.energy_used(kept.meter(), start=day, end=day + DAY_MS).wh


def summed(kept: Kept, hours: float) -> None:
    """What upkeep does so long after DAY0."""
    kept.upkeep(now=DAY0 + round(hours * HOUR_MS) + GRACE_MS)


def test_the_first_readings_count_at_once(kept: Kept) -> None:
    kept.put(wh(1, 100, minute=1))
    assert used(kept) is None
    kept.put(wh(2, 101.5, minute=2), wh(3, 103, minute=3))
    assert used(kept) == 3


def test_summed_hours_and_the_running_one_together(kept: Kept) -> None:
    kept.put(wh(1, 100, minute=10), wh(2, 110, minute=50), wh(3, 125, minute=70), wh(4, 131, minute=130))
    summed(kept, 2)
    assert kept.used() == {0: 10, 1: 15}
    assert used(kept) == 31


def test_the_step_over_midnight_is_of_the_day_in_which_it_ends(kept: Kept) -> None:
    kept.put(wh(1, 100, minute=-5), wh(2, 107, minute=5))
    assert (used(kept, DAY0 - DAY_MS), used(kept)) == (None, 7)
    summed(kept, 0)  # the hour before midnight
    assert used(kept) == 7


def test_a_reset_and_a_new_epoch_count_as_zero(kept: Kept) -> None:
    kept.put(wh(1, 5000, minute=1), wh(2, 5001, minute=2), wh(3, 0, minute=3), wh(4, 2, minute=4))
    kept.put(wh(1, 777_777, minute=5, epoch=2), wh(2, 777_780, minute=6, epoch=2))
    assert used(kept) == 1 + 2 + 3


def test_late_readings_count_before_they_are_summed_up(kept: Kept) -> None:
    """The hour after them holds the whole step until it is corrected."""
    kept.put(wh(1, 100, minute=10), wh(9, 190, minute=130))
    summed(kept, 3)
    kept.put(*(wh(seq, 90 + seq * 10, minute=seq * 15) for seq in range(2, 9)))
    assert used(kept) == 90


def test_a_late_reading_of_yesterday_shortens_todays_first_step(kept: Kept) -> None:
    kept.put(wh(1, 100, minute=-100), wh(3, 130, minute=5))
    summed(kept, 1)
    assert used(kept) == 30
    kept.put(wh(2, 120, minute=-50))
    assert used(kept) == 10


def test_a_meter_without_a_counter_has_none(kept: Kept) -> None:
    kept.put(wh(1, None, minute=1), wh(2, None, minute=2))
    assert used(kept) is None
    summed(kept, 1)
    assert used(kept) is None


def fits(one: tuple[int, int, float], later: tuple[int, int, float]) -> bool:
    """Whether 69 kW and a quarter, with 10 s more and a Wh, make the rise."""
    hours = (abs(later[1] - one[1]) + 10_000) / HOUR_MS
    return 0 <= later[2] - one[2] <= 1 + 69_000 * 1.25 * hours


def steps(rows: list[Row]) -> float:
    """What the counters counted up in the day, computed apart and in one go."""
    epochs: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
    for reading in map(reading_of, rows):
        epochs[reading.epoch].append((reading.seq, reading.ts, reading.energy))
    used = 0.0
    for readings in map(sorted, epochs.values()):
        good, odd = readings[0], None
        for told in readings[1:]:
            start = good if fits(good, told) else odd if odd and fits(odd, told) else None
            if start is None:
                odd = told
                continue
            if odd and start is odd and odd[2] < good[2]:
                rolled = (odd[0], odd[1], odd[2] + 9_999_990)
                if fits(good, rolled) and DAY0 <= odd[1] < DAY0 + DAY_MS:
                    used += rolled[2] - good[2]
            if DAY0 <= told[1] < DAY0 + DAY_MS:
                used += told[2] - start[2]
            good, odd = told, None
    return used


def anything(random: Random) -> list[Row]:
    """A day and the evening before: outages, resets, new epochs, a clock that is set, odd values, the end."""
    rows, minute, epoch, seq = list[Row](), -300.0, 1, 0
    energy = random.choice([1000.0, 98_414.0, 9_999_980.0])
    while minute < 24 * 60 + 30:
        seq += 1
        odd = random.choice([0.0, 2.0**32 - 1, random.uniform(0, 1e7)])
        told = odd if random.random() < 0.06 else energy
        rows.append(wh(seq, told, minute=minute, epoch=epoch))
        minute += random.choice([1, 5, 20, 20, 130, -10])
        energy = energy + random.randrange(9) / 4 if random.random() > 0.05 else 0.0
        energy = energy - 9_999_990 if energy >= 9_999_990 else energy
        if random.random() < 0.05:
            epoch, seq = epoch + 1, 0
    return rows


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_it_is_what_the_counters_counted(kept: Kept, seed: int) -> None:
    random = Random(seed)
    rows = anything(random)
    waiting, told = list(rows), list[Row]()
    while waiting:
        some = [waiting.pop(random.randrange(min(8, len(waiting)))) for _ in range(min(12, len(waiting)))]
        kept.put(*some)
        told += some
        if random.random() < 0.4:
            summed(kept, random.uniform(0, 26))
        assert (used(kept) or 0.0) == pytest.approx(steps(told), abs=1e-6)
    kept.upkeep(pack_after=timedelta(0))
    assert (used(kept) or 0.0) == pytest.approx(steps(told), abs=1e-6)


def test_a_clock_that_was_set_over_midnight_counts_nothing_twice(kept: Kept) -> None:
    minutes = [-20, -10, 10, 20, -5, 15]
    kept.put(*(wh(seq, 100 + seq, minute=minute) for seq, minute in enumerate(minutes, start=1)))
    assert (used(kept, DAY0 - DAY_MS), used(kept)) == (2, 3)
    summed(kept, 24)
    assert (used(kept, DAY0 - DAY_MS), used(kept)) == (2, 3)


def test_hours_that_are_summed_up_count_without_their_readings(kept: Kept) -> None:
    kept.put(*(wh(seq, 100 + seq, minute=seq * 10) for seq in range(1, 31)))
    summed(kept, 5)
    kept.upkeep(now=DAY0 + 5 * HOUR_MS, keep=timedelta(hours=2))
    assert len(kept.readings()) < 20
    assert used(kept) == 29


def test_hours_of_all_meters_together_and_of_some(kept: Kept) -> None:
    for number, power in ((1, 60.0), (2, -10.0), (3, None)):
        values = enumerate((100.0, 100.0 + number, 100.0 + 3 * number), start=1)
        kept.put(*(row(number, seq, ts=DAY0 + seq * 60_000, energy=wh, power=power) for seq, wh in values))
    with kept.engine.begin() as connection:
        connection.execute(update(Meter).values(number=col(Meter.key) + 100))
    summed(kept, 1)
    numbers = {number: kept.meter(number).number or 0 for number in (1, 2, 3)}
    hours = partial(kept.store.together, start=DAY0, end=DAY0 + DAY_MS)
    assert hours() == [(DAY0, 18.0, 50.0, 3)]
    assert hours(numbers={numbers[1], numbers[3]}) == [(DAY0, 12.0, 60.0, 2)]
    assert hours(numbers={numbers[3]}) == [(DAY0, 9.0, None, 1)]
    assert hours(numbers={*range(9_000, 19_000)}) == []
