"""Meters with three phases and two directions in the store: each costs and shows what it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from bridge.ingest.bulk_insert import by_quantities
from bridge.ingest.rows import Row, reading_of
from bridge.store.rollup import DAY, HOUR
from bridge.store.tables import DAY_MS, HOUR_MS
from broker.contract.quantities import HOUSEHOLD, QUANTITIES
from tests.support.stores import DAY0, Kept, keeping, row, series

pytest_plugins = ("tests.support.databases",)

PHASES = ("power", "voltage_l1", "voltage_l2", "voltage_l3", "energy_import", "energy_export")


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as found:
        yield found


def two_way(number: int, count: int) -> list[Row]:
    """Readings of a three-phase meter, 10 s apart: 2 Wh consumed and 5 Wh fed in from each to the next."""
    return [
        row(
            number, seq, ts=DAY0 + seq * 10_000, power=-1080.0, energy_import=1000.0 + 2 * seq,
            energy_export=5.0 * seq, voltage_l1=230.0 + seq % 3, voltage_l2=231.0, voltage_l3=229.5,
        )
        for seq in range(1, count + 1)
    ]  # fmt: skip


def known(kept: Kept, number: int, names: tuple[str, ...]) -> None:
    """The meter's birth has named these."""
    with kept.engine.begin() as connection:
        told = {"names": ",".join(names), "key": kept.meter(number).key}
        connection.execute(text("UPDATE meter SET quantities = :names WHERE key = :key"), told)


def test_both_kinds_in_one_commit_are_stored_packed_and_told_as_they_were(kept: Kept) -> None:
    plain, phases = series(1, 720), two_way(2, 720)
    mixed = [one for pair in zip(plain, phases, strict=True) for one in pair]
    assert kept.put(*mixed) == 1440
    assert kept.commit(*mixed).conflicts == 0
    for _ in range(2):  # rows, and then packs
        assert kept.readings(1) == [reading_of(one) for one in plain]
        assert kept.readings(2) == [reading_of(one) for one in phases]
        assert kept.commit(row(2, 5, ts=DAY0 + 50_000, voltage_l1=1.0)).conflicts == 1
        kept.upkeep()


def test_the_energy_of_a_two_way_meter_is_what_it_consumed(kept: Kept) -> None:
    kept.put(*two_way(1, 720))
    kept.upkeep()
    assert kept.used() == {0: 2.0 * 358, 1: 2.0 * 360, 2: 2.0}
    assert kept.store.energy_used(kept.meter(), start=DAY0, end=DAY0 + DAY_MS).wh == 2.0 * 719
    (day,) = kept.rollups(DAY)
    assert (day["energy_used"], day["energy_doubtful"]) == (2.0 * 719, 0)


def test_a_register_of_a_two_way_meter_that_falls_has_not_rolled_over(kept: Kept) -> None:
    told = (9_999_980.0, 5.0, 6.0)
    kept.put(*(row(1, seq, ts=DAY0 + seq * 60_000, energy_import=at) for seq, at in enumerate(told, start=1)))
    kept.upkeep()
    assert kept.used() == {0: 1.0}


def test_roll_ups_and_exports_have_the_fields_of_the_meter(kept: Kept) -> None:
    kept.put(*series(1, 720), *two_way(2, 720))
    kept.upkeep()
    known(kept, 2, PHASES)
    assert fields(kept, 1) == (*HOUSEHOLD,)
    assert fields(kept, 2) == tuple(name for name in QUANTITIES if name in PHASES)
    hours = rolled_up(kept, 2, HOUR)
    assert {(one["voltage_l1_min"], one["voltage_l1_max"]) for one in hours[:2]} == {(230.0, 232.0)}
    assert [one["voltage_l1_count"] for one in hours] == [359, 360, 1]
    (day,) = rolled_up(kept, 2, DAY)
    assert (day["voltage_l1_count"], day["voltage_l1_mean"]) == (720, pytest.approx(231.0))
    assert (day["power_count"], day["power_min"]) == (720, -1080.0)
    assert "current_count" not in day
    assert [key for key in rolled_up(kept, 1, DAY)[0] if "_l1" in key] == []


def test_what_no_birth_named_is_exported_all_the_same(kept: Kept) -> None:
    """A pack of before, or a meter that is replaced by another kind: stored values are never left out."""
    kept.put(*two_way(1, 400), row(1, 401, ts=DAY0 + 5 * HOUR_MS, demand=7.0))
    kept.upkeep()
    shown = fields(kept, 1)
    assert {*PHASES, "demand"} <= {*shown} <= {*PHASES, "demand", *HOUSEHOLD}
    assert {f"{name}_count" for name in (*PHASES, "demand")} <= rolled_up(kept, 1, DAY)[0].keys()


def fields(kept: Kept, number: int) -> tuple[str, ...]:
    """The quantities that an export of all readings has."""
    meter = kept.meter(number)
    table = kept.store.table(meter, kept.store.readings(meter), start=0)
    assert len(list(table.rows)) == len(kept.readings(number))
    return tuple(name for name in table.fields if name in QUANTITIES)


def rolled_up(kept: Kept, number: int, span: int) -> list[dict[str, Any]]:
    """As readers see them."""
    table = kept.store.rollups(kept.meter(number), span)
    return list(table.documents())


def test_meters_that_each_tell_something_else_cost_few_statements(kept: Kept) -> None:
    names = [*QUANTITIES]
    rows = []
    for seq in range(1, 641):
        told: dict[str, Any] = {names[seq % 64]: 0.5, names[seq // 64]: 0.25}
        rows.append(row(1, seq, ts=DAY0 + seq, **told))
    assert len({one[-1] for one in rows}) > 500
    assert len(by_quantities(rows)) == 1
    assert kept.put(*rows, *series(2, 40)) == 680
    assert kept.readings(1) == [reading_of(one) for one in rows]
    assert len(by_quantities([*rows, *series(2, 40)])) <= 3
