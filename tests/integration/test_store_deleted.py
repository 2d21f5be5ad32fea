"""What retention has partly deleted is never computed again from the rest; what never was is not shown."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from bridge.store.demand import demand
from bridge.store.due import due_again
from bridge.store.registers import energy
from bridge.store.tables import DAY_MS, HOUR_MS, LoadProfile, moment
from bridge.store.tariff_energy import tariff_energy
from bridge.store.tariffs import EXAMPLE, parse
from broker.calendar import Calendar
from tests.support.stores import DAY0, Kept, keeping, row

pytest_plugins = ("tests.support.databases",)

MINUTE = 60_000
UTC = Calendar.named("UTC")
OLD = timedelta(days=2)


@pytest.fixture
def kept(sqlite_url: str) -> Iterator[Kept]:
    with keeping(sqlite_url) as kept:
        yield kept


def minutes(*wanted: float, wh: float = 10.0, epoch: int = 1) -> list[Any]:
    """Readings at these minutes after DAY0; the counter counts ``wh`` a minute."""
    return [row(1, round(2 * n) + 1, ts=DAY0 + round(n * MINUTE), epoch=epoch, energy=wh * n) for n in wanted]


def state(kept: Kept) -> tuple[Any, ...]:
    """Energy of the hours, and all intervals."""
    table = kept.store.profiles.table(kept.meter(), start=DAY0 - DAY_MS, end=DAY0 + 3 * DAY_MS)
    return kept.used(), list(table.rows)


def edge(kept: Kept, hour: int) -> int:
    """Delete the readings before an hour; the time then."""
    now = DAY0 + hour * HOUR_MS + 2 * DAY_MS
    kept.upkeep(now=now, keep=OLD)
    return now


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("with_profiles", [True, False])
def test_an_hour_whose_step_began_before_the_edge_stays(kept: Kept, late: bool, with_profiles: bool) -> None:
    """Five hours of an outage are counted in the hour from 300 min on: it is all there, and stays."""
    kept.put(*minutes(*range(51), *range(300, 401)))
    kept.upkeep(now=DAY0 + 8 * HOUR_MS)
    if not with_profiles:  # rolled up before there were any
        with kept.engine.begin() as connection:
            connection.execute(delete(LoadProfile))
    before = state(kept)
    assert before[0][5] == 2500.0 + 590.0
    now = edge(kept, 2)
    assert len(kept.readings()) == 101
    if late:
        kept.put(*minutes(350.5), now=now)
    with kept.engine.begin() as connection:
        due_again(connection, start=DAY0, end=DAY0 + 6 * HOUR_MS)
    kept.upkeep(now=now, keep=OLD)
    assert state(kept) == before


def test_late_readings_never_make_up_for_deleted_ones(kept: Kept) -> None:
    """As many as were deleted, and more: they are a part of the hour all the same."""
    kept.put(*minutes(*range(0, 60, 2), *range(120, 240)))
    kept.upkeep(now=DAY0 + 8 * HOUR_MS)
    before = state(kept)
    now = edge(kept, 2)
    assert min(one.ts for one in kept.readings()) == DAY0 + 2 * HOUR_MS
    kept.put(*minutes(*(n + 0.5 for n in range(59)), wh=20.0, epoch=2), now=now)
    kept.upkeep(now=now, keep=OLD)
    assert state(kept) == before


def test_hours_after_the_edge_are_still_corrected(kept: Kept) -> None:
    """Also the first one of an outbox, before which there never was a reading."""
    kept.put(*minutes(*range(61)), *minutes(*range(300, 360, 2)))
    kept.put(*minutes(*range(420, 480, 2), epoch=2))
    kept.upkeep(now=DAY0 + 9 * HOUR_MS)
    now = edge(kept, 1)
    assert kept.used()[7] == 580.0
    kept.put(*minutes(479, epoch=2), *minutes(*range(361, 380)), now=now)
    kept.upkeep(now=now, keep=OLD)
    assert (kept.used()[6], kept.used()[7]) == (210.0, 590.0)
    assert min(one.ts for one in kept.readings()) >= DAY0 + HOUR_MS


def test_an_hour_that_was_never_computed_is(kept: Kept) -> None:
    kept.put(*minutes(*range(60)), *minutes(*range(240, 300)))
    kept.upkeep(now=DAY0 + 8 * HOUR_MS)
    now = edge(kept, 4)
    kept.put(*minutes(*range(120, 180), epoch=2), now=now)
    kept.upkeep(now=now, keep=OLD)
    assert kept.used()[2] == 590.0


def test_there_is_no_row_before_a_meter_was_heard_first(kept: Kept) -> None:
    """In the energy of registers, in demand and in tariffs; the first day begins with its first hour."""
    kept.put(*minutes(*range(90, 24 * 60 + 10)))
    kept.put(row(2, 1, ts=DAY0 + DAY_MS + 5 * MINUTE, energy=1.0))
    days = list(UTC.days(moment(DAY0 - 3 * DAY_MS), moment(DAY0 + 2 * DAY_MS)))
    meters = kept.store.registry()
    tariffs = parse(EXAMPLE.read_text(), source="example", calendar=UTC)
    for now, keep in ((DAY0 + 5 * HOUR_MS, None), (DAY0 + 9 * DAY_MS, OLD)):
        kept.upkeep(now=now, keep=keep)
        tables = [
            energy(kept.store, meters, days),
            demand(kept.store.profiles, meters, days),
            tariff_energy(kept.store.profiles, meters, days, tariffs),
        ]
        for table in tables:
            found = list(table.documents())
            assert [one["period"] for one in found] == ["2026-11-23", "2026-11-24", "2026-11-24"]
    marks = [next(iter(demand(kept.store.profiles, [kept.meter()], days).rows))[-4:]]
    assert marks == [(90, 0, 0, 2)], "half an hour is missing of the first hour, and nothing before it"
