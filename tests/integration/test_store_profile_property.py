"""The load profile against `tests.support.profile_reference`: whatever the meter reads, in whatever order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from bridge.store.due import due_again
from bridge.store.tables import HOUR_MS
from tests.support import profile_reference as reference
from tests.support.profile_houses import LONG_AFTER, House, houses
from tests.support.profile_keeping import a_copy, differences, keep_up, receive, receive_at_once, told
from tests.support.stores import DAY0, Kept, keeping

SOME = settings(
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with our schema."""
    file = tmp_path_factory.mktemp("empty") / "meter.sqlite"
    with keeping(f"sqlite:///{file}"):
        pass
    return file


@SOME
@given(house=houses())
def test_the_profile_is_that_of_the_reference(empty: Path, house: House) -> None:
    """In batches, with upkeep between them; a part of the time is a part of the profile."""
    expected = house.expected
    with a_copy(empty) as kept:
        receive(kept, house)
        assert differences(told(kept), expected) == []
        start, end = DAY0 + HOUR_MS + 1, DAY0 + 5 * HOUR_MS
        part = [line for line in expected if start <= line["start"] < end]
        shown = told(kept, start=start, end=end)
        assert [line["start"] for line in shown] == [line["start"] for line in part]
        used = sum(line["energy_import"] or 0.0 for line in told(kept))
        assert used == pytest.approx(sum(wh or 0.0 for wh in kept.used().values()), abs=0.001)


def everything(kept: Kept) -> tuple[Any, ...]:
    """All roll-ups and intervals."""
    table = kept.store.profiles.table(kept.meter(), start=0, end=LONG_AFTER)
    return list(table.rows), kept.rollups(3600), kept.rollups(86400)


@SOME
@given(house=houses())
def test_once_at_the_end_gives_the_same(empty: Path, house: House) -> None:
    with a_copy(empty) as kept, a_copy(empty) as again:
        receive(kept, house)
        receive_at_once(again, house)
        assert differences(told(again), told(kept)) == []
        assert differences(told(again), house.expected) == []
        before = everything(again)
        with again.engine.begin() as connection:
            due_again(connection, start=0, end=LONG_AFTER)
        keep_up(again, house, now=LONG_AFTER)
        assert everything(again) == before, "days computed again are the same, and no new versions"


@settings(SOME, max_examples=300)
@given(house=houses())
def test_intervals_add_up_to_the_steps(house: House) -> None:
    """Of the reference, which the others are compared with."""
    rating = reference.rating_of(house.model)
    for name in reference.registers(house.readings):
        steps = reference.covered(house.readings, name, rating)
        thousandths = sum(round(1000 * (line[name] or 0.0)) for line in house.expected)
        assert thousandths == sum(step.thousandths for step in steps)
