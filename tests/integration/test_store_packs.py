"""Packed readings: what comes back, exactly once over rows and packs, retention; on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import pytest
from sqlalchemy import select
from sqlmodel import col

from bridge.store.rollup import DAY, HOUR
from bridge.store.tables import DAY_MS, HOUR_MS, Due, Pack, Reading, moment
from bridge.store.upkeep import Done, Policy, let_others, upkeep
from tests.support.bridges import eventually
from tests.support.stores import DAY0, NOW, Kept, keeping, row, series

pytest_plugins = ("tests.support.databases",)

PER_HOUR, PER_DAY = 360, 8640
PACK_AFTER_MS = Policy.pack_after // timedelta(milliseconds=1)


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as kept:
        yield kept


def test_readings_come_back_as_they_were(kept: Kept) -> None:
    rows = series(1, 2500)
    kept.put(*rows)
    before = kept.readings()
    assert kept.upkeep().packed == 2499, "the newest of a meter stays a row"
    assert kept.count(Reading) == 1
    after = kept.readings()
    assert after == before
    assert [tuple(map(type, reading)) for reading in after] == [tuple(map(type, r)) for r in before]
    assert kept.store.meters()[0].latest == before[-1]


def test_a_packed_reading_is_not_stored_again(kept: Kept) -> None:
    rows = series(1, 1500)
    assert kept.put(*rows) == 1500
    kept.upkeep()
    before = kept.readings()
    assert kept.put(*rows) == 0
    other_time = row(1, 700, ts=NOW - 1, power=9.0)
    assert kept.put(other_time, row(1, 1500, ts=NOW), row(1, 1501, ts=NOW)) == 1
    assert kept.put(row(1, 700, ts=DAY0, epoch=2)) == 1, "another epoch is another reading"
    assert kept.put(row(2, 700, ts=DAY0)) == 1, "so is another meter"
    assert [r for r in kept.readings() if r.epoch == 1][:-1] == before


def test_holes_are_no_readings_and_are_filled_later(kept: Kept) -> None:
    rows = series(1, 400)
    late = [reading for reading in rows if 100 <= reading[2] < 180 or reading[2] == 301]
    kept.put(*(reading for reading in rows if reading not in late))
    assert kept.upkeep().packed == 399 - len(late)
    assert kept.put(*late) == len(late)
    assert [reading.seq for reading in kept.readings()] == list(range(1, 401))
    kept.upkeep()
    assert [reading.seq for reading in kept.readings()] == list(range(1, 401))
    assert kept.count(Reading) == 2, "the newest, and the one that has no neighbour"
    assert kept.put(*rows) == 0
    assert kept.used() == {0: 359, 1: 40}


def test_times_and_numbers_over_rows_and_packs(kept: Kept) -> None:
    rows = series(1, 1200)
    kept.put(*rows, *(row(1, seq, ts=DAY0 + 5_000_000 + seq % 3, epoch=2) for seq in range(1, 60)))
    kept.put(*series(1, 300, start=NOW - 3_600_000, first=1201))
    everything = kept.readings()
    kept.upkeep()
    assert kept.count(Reading) == 300
    assert kept.readings() == everything
    for start in (DAY0, DAY0 + 5_000_001, DAY0 + 9_000_003, NOW - 1_800_000):
        since = datetime.fromtimestamp(start / 1000, UTC)
        expected = [reading for reading in everything if reading.ts >= start]
        assert kept.readings(since=since) == expected
        for last in (1, 299, 300, 301, 1111, 1559, 2000):
            assert kept.readings(last=last) == everything[-last:]
            assert kept.readings(since=since, last=last) == expected[-last:]


def test_last_among_readings_of_the_same_moment(kept: Kept) -> None:
    kept.put(*(row(1, seq, ts=DAY0 + seq // 40) for seq in range(1, 121)))
    everything = kept.readings()
    kept.upkeep()
    for last in range(1, 121):
        assert kept.readings(last=last) == everything[-last:]


def test_a_clock_that_was_set_back_keeps_the_order_of_time(kept: Kept) -> None:
    random = Random(3)
    kept.put(*(row(1, seq, ts=DAY0 + random.randrange(DAY_MS)) for seq in range(1, 3001)))
    everything = kept.readings()
    kept.upkeep()
    assert kept.count(Pack) + kept.count(Reading) < 3001
    assert kept.readings() == everything
    assert everything == sorted(everything, key=lambda reading: (reading.ts, reading.epoch, reading.seq))


def test_hours_are_packed_when_they_are_over_for_long_enough(kept: Kept) -> None:
    kept.put(*series(1, 4 * PER_HOUR, start=DAY0 + 5_000))
    assert kept.upkeep(now=DAY0 + HOUR_MS + PACK_AFTER_MS - 1).packed == 0
    assert kept.upkeep(now=DAY0 + HOUR_MS + PACK_AFTER_MS).packed == PER_HOUR
    assert kept.upkeep(now=DAY0 + HOUR_MS + PACK_AFTER_MS) == Done()
    assert kept.upkeep(now=DAY0 + 5 * HOUR_MS).packed == 3 * PER_HOUR - 1
    assert kept.count(Pack) == 4
    assert [reading.seq for reading in kept.readings()] == list(range(1, 4 * PER_HOUR + 1))


@pytest.mark.parametrize(
    ("step", "hours"), [(1, 1), (10, 1), (12, 1), (20, 2), (30, 4), (60, 8), (120, 24), (900, 24)]
)
def test_the_hours_of_a_pack_by_the_interval(sqlite_url: str, step: int, hours: int) -> None:
    with keeping(sqlite_url) as kept:
        kept.put(*series(1, 2 * 86400 // step, step=1000 * step))
        over = DAY0 + hours * HOUR_MS + PACK_AFTER_MS
        assert kept.upkeep(now=over - 1).packed == 0
        assert kept.upkeep(now=over).packed == hours * 3600 // step


def test_few_readings_wait_for_the_end_of_their_day(kept: Kept) -> None:
    kept.put(*series(1, 2 * 720, start=DAY0 + 5_000, step=120_000))
    day_over = DAY0 + DAY_MS + PACK_AFTER_MS
    assert kept.upkeep(now=day_over - 1).packed == 0
    assert kept.upkeep(now=day_over).packed == 720
    assert kept.upkeep(now=day_over) == Done()
    assert kept.upkeep(now=day_over + DAY_MS).packed == 719
    assert kept.count(Pack) == 2


def test_a_pack_is_of_a_thousand_at_most(kept: Kept) -> None:
    kept.put(*series(1, 3600, start=DAY0 + 500, step=1000), row(1, 3601, ts=NOW))
    kept.upkeep()
    with kept.engine.connect() as connection:
        sizes = connection.scalars(select(col(Pack.seq) - col(Pack.first_seq) + 1).order_by(col(Pack.seq)))
        assert list(sizes) == [1000, 1000, 1000, 600]


def test_a_time_that_ends_within_a_pack_of_a_day(kept: Kept) -> None:
    kept.put(*series(1, 3 * 96, start=DAY0, step=900_000))
    everything = kept.readings()
    kept.upkeep()
    assert kept.count(Pack) == 3
    for end in (DAY0 + 1, DAY0 + 900_000, DAY0 + DAY_MS, DAY0 + DAY_MS + 1, DAY0 + 2 * DAY_MS - 1):
        found = list(kept.store.span(kept.meter(), start=DAY0, end=end))
        assert found == [reading for reading in everything if reading.ts < end]


def test_hours_with_an_outage_are_packed_too(kept: Kept) -> None:
    """Of the third hour 40 readings are there: they go with its day, in packs of what has no hole."""
    kept.put(*(reading for reading in series(1, 8 * PER_HOUR) if not 760 < reading[2] <= 1080))
    kept.upkeep(now=DAY0 + 6 * HOUR_MS)
    assert kept.count(Reading) == 40 + 3 * PER_HOUR, "the third hour, and those that are not over"
    assert kept.count(Pack) == 4
    kept.upkeep(now=DAY0 + 2 * DAY_MS)
    assert (kept.count(Reading), len(kept.readings())) == (1, 8 * PER_HOUR - 320)
    with kept.engine.connect() as connection:
        assert connection.execute(select(Due)).all() == []


def test_a_packed_hour_is_corrected_by_a_late_reading(kept: Kept) -> None:
    rows = series(1, 2000)
    kept.put(*(reading for reading in rows if reading[2] != 500))
    kept.upkeep()
    kept.put(rows[499])
    kept.upkeep()
    hours = kept.rollups(HOUR)
    assert sum(hour["readings"] for hour in hours) == 2000
    assert sum(hour["energy_used"] for hour in hours) == 1999


def test_retention_deletes_whole_hours_that_are_old_and_summed_up(kept: Kept) -> None:
    kept.put(*series(1, 3 * PER_DAY), *series(2, 3, start=DAY0 + 2 * DAY_MS))
    kept.put(*series(3, 3 * 1440, step=60_000))
    kept.upkeep()
    sums = kept.rollups(HOUR), kept.rollups(DAY)
    keep = timedelta(days=8, hours=12, minutes=-30)  # NOW is ten days after DAY0: from 12:30 of the second
    done = kept.upkeep(keep=keep)
    limit = DAY0 + DAY_MS + 12 * HOUR_MS
    assert done.packs > 0
    assert limit <= kept.readings()[0].ts < limit + 10_000
    assert limit - 1000 * 60_000 <= kept.readings(3)[0].ts <= limit, "a pack goes when all of it is old"
    assert [r.seq for r in kept.readings()] == list(range(kept.readings()[0].seq, 3 * PER_DAY + 1))
    assert (kept.rollups(HOUR), kept.rollups(DAY)) == sums, "roll-ups stay"
    assert len(kept.readings(2)) == 3, "younger ones stay"
    assert kept.upkeep(keep=keep) == Done()


def test_retention_of_rows(kept: Kept) -> None:
    kept.put(*series(1, 3000, step=60_000))
    never = timedelta(days=999)
    kept.upkeep(pack_after=never)
    done = kept.upkeep(pack_after=never, keep=timedelta(days=9))
    assert done.rows == 1440
    assert kept.readings()[0].ts >= DAY0 + DAY_MS


def test_a_clock_that_leapt_ahead_deletes_nothing(kept: Kept) -> None:
    kept.put(*series(1, 1000))
    leapt, keep = NOW + 700 * DAY_MS, timedelta(days=400)
    kept.put(*series(2, 1000, start=leapt - 4 * HOUR_MS), now=leapt)  # a meter that shares it
    done = kept.upkeep(now=leapt, keep=keep, ntp=False)
    assert (done.hours, done.held, done.packs) == (6, True, 0)
    assert len(kept.readings()) == 1000
    assert kept.upkeep(now=leapt, keep=keep).packs > 0, "NTP keeps the clock: it is so late"
    assert kept.readings() == []


def test_a_clock_without_ntp_deletes_what_is_old_while_readings_come(kept: Kept) -> None:
    kept.put(*series(1, 1000))
    assert kept.upkeep(keep=timedelta(days=1), ntp=False).held is False
    assert kept.readings() == []


def test_what_is_not_summed_up_is_never_deleted(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.put(*series(1, 1000))
    monkeypatch.setattr("bridge.store.rollup.Summer.step", lambda _self, _connection: False)
    assert kept.upkeep(keep=timedelta(days=1)) == Done()
    assert len(kept.readings()) == 1000
    monkeypatch.undo()
    assert kept.upkeep(keep=timedelta(days=1)).hours == 3
    assert kept.readings() == []
    assert sum(hour["readings"] for hour in kept.rollups(HOUR)) == 1000


def test_a_reading_that_is_later_than_retention_spoils_no_roll_up(kept: Kept) -> None:
    rows = series(1, 720)
    kept.put(*rows[:700])
    kept.upkeep(keep=timedelta(days=1))
    before = kept.rollups(HOUR)
    kept.put(rows[710])
    kept.upkeep(keep=timedelta(days=1))
    assert kept.rollups(HOUR) == before
    assert kept.readings() == []


def test_readings_are_stored_while_upkeep_runs(kept: Kept) -> None:
    """Every reading exactly once, and each hour right, with the two at it at the same time."""
    past, live = series(1, 4000), series(2, 4000)
    kept.put(*past)
    stop, turns, rounds = threading.Event(), list[float](), list[object]()

    def turn(seconds: float) -> bool:
        turns.append(seconds)
        return let_others(seconds)

    def keep_up() -> None:
        while not stop.is_set():
            rounds.append(upkeep(kept.engine, Policy(), now=NOW, pause=turn))
            let_others(0.02)  # rounds without an end between them would starve the writer on SQLite

    def goes_on(before: int) -> bool:
        return len(turns) + len(rounds) > before

    keeper = threading.Thread(target=keep_up)
    keeper.start()
    for start in range(0, 4000, 100):
        before = len(turns) + len(rounds)
        kept.put(*live[start : start + 100], *past[start : start + 100])
        eventually(partial(goes_on, before), what="upkeep goes on beside it")
    stop.set()
    keeper.join()
    kept.upkeep()
    for number in (1, 2):
        assert [reading.seq for reading in kept.readings(number)] == list(range(1, 4001))
        assert sum(hour["readings"] for hour in kept.rollups(HOUR, number)) == 4000
        assert sum(hour["energy_used"] for hour in kept.rollups(HOUR, number)) == 3999


def test_a_reader_sees_one_state_while_readings_are_packed(kept: Kept) -> None:
    kept.put(*series(1, 5000))
    stream = kept.store.readings(kept.meter())
    first = next(stream)
    assert kept.upkeep().packed == 4999
    assert [first.seq, *(reading.seq for reading in stream)] == list(range(1, 5001))


def test_one_process_at_a_time(postgres_url: str) -> None:
    with keeping(postgres_url) as kept:
        kept.put(*series(1, 3000))
        found = []

        def second(_seconds: float) -> bool:
            found.append(upkeep(kept.engine, Policy(), now=NOW))
            return True

        assert upkeep(kept.engine, Policy(), now=NOW, pause=second) is None
        assert found == [None]
        assert kept.upkeep().packed > 0


def test_nothing_is_left_to_do(kept: Kept) -> None:
    kept.put(*series(1, 1000))
    kept.upkeep()
    with kept.engine.connect() as connection:
        assert connection.execute(select(Due)).all() == []


def test_the_times_of_the_test_are_what_they_say() -> None:
    assert moment(DAY0) == datetime(2026, 11, 23, tzinfo=UTC)
