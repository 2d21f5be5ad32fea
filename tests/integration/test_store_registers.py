"""Energy of local days and months from registers at their boundaries, on both databases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from bridge.store.registers import DOUBTFUL, NO_END, NO_START, RESET, energy
from bridge.store.tables import HOUR_MS, at_ms
from broker.calendar import Calendar
from tests.support.stores import Kept, keeping, row

pytest_plugins = ("tests.support.databases",)

ZURICH = Calendar.named("Europe/Zurich")
KATHMANDU = Calendar.named("Asia/Kathmandu")
STEP = 300_000
"""ms between two readings."""
OCTOBER_24 = at_ms(ZURICH.time("2026-10-24"))
"""The next local day has 25 hours."""


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as kept:
        yield kept


def readings(
    start: int, count: int, *, first: int = 1, counter: float = 1000.0, step: int = STEP, number: int = 1,
    epoch: int = 1, quantity: str = "energy",
) -> list[Any]:  # fmt: skip
    """A reading each ``step`` ms that counts 1 Wh, from shortly before ``start`` on."""
    return [
        row(number, first + n, ts=start - 1000 + n * step, epoch=epoch, voltage=230.0, frequency=50.0,
            **{quantity: counter + n})
        for n in range(count)
    ]  # fmt: skip


def put(kept: Kept, rows: list[Any], *, hours: bool = False) -> None:
    """Store them; the ``hours`` are summed up and packed, too."""
    now = max(one[3] for one in rows)
    kept.put(*rows, now=now)
    if hours:
        kept.upkeep(now=now + 48 * HOUR_MS)


def told(
    kept: Kept, calendar: Calendar, start: str, end: str, *, months: bool = False
) -> list[dict[str, Any]]:
    """The table as dictionaries."""
    begin, stop = calendar.time(start), calendar.time(end)
    periods = list(calendar.months(begin, stop) if months else calendar.days(begin, stop))
    table = energy(kept.store, kept.store.registry(retired=True), periods)
    return list(table.documents())


def used(rows: Iterable[dict[str, Any]]) -> list[tuple[str, float | None, str]]:
    """Period, energy, marks."""
    return [(one["period"], one["energy_used"], one["marks"]) for one in rows]


def test_a_day_of_25_hours_and_a_month(kept: Kept) -> None:
    """12 Wh an hour; the registers at both ends are in the row, whether they are packed or not."""
    put(kept, readings(OCTOBER_24, 12 * 73 + 1))
    for _ in range(2):
        found = told(kept, ZURICH, "2026-10-23", "2026-10-28")
        assert used(found) == [
            ("2026-10-23", None, NO_START),
            ("2026-10-24", 288.0, ""),
            ("2026-10-25", 300.0, ""),
            ("2026-10-26", 288.0, ""),
            ("2026-10-27", None, NO_END),
        ]
        (long,) = (one for one in found if one["period"] == "2026-10-25")
        assert (long["register_start"], long["register_end"]) == (1288.0, 1588.0)
        assert long["end"] - long["start"] == 25 * HOUR_MS
        assert (long["energy_export"], long["export_start"]) == (None, None)
        kept.upkeep(now=OCTOBER_24 + 144 * HOUR_MS)
    assert used(told(kept, ZURICH, "2026-10-01", "2026-11-01", months=True)) == [
        ("2026-10", None, f"{NO_START} {NO_END}")
    ]


def test_the_days_of_a_month_add_up_to_it(kept: Kept) -> None:
    start = at_ms(ZURICH.time("2026-02-01"))
    put(kept, readings(start, 28 * 96 + 1, step=3 * STEP))
    days = told(kept, ZURICH, "2026-02-01", "2026-03-01")
    assert [day["energy_used"] for day in days] == [96.0] * 28
    assert used(told(kept, ZURICH, "2026-02-01", "2026-03-01", months=True)) == [("2026-02", 28 * 96.0, "")]


def test_an_outage_at_midnight_is_marked_and_costs_two_days_only(kept: Kept) -> None:
    day = 12 * 24
    whole = readings(OCTOBER_24, 12 * 73 + 1)
    put(kept, [*whole[: day - 6], *whole[day + 6 :]])
    assert used(told(kept, ZURICH, "2026-10-24", "2026-10-27")) == [
        ("2026-10-24", None, NO_END),
        ("2026-10-25", None, NO_START),
        ("2026-10-26", 288.0, ""),
    ]


def test_the_nearest_register_after_midnight_counts_if_there_is_none_before(kept: Kept) -> None:
    whole = readings(OCTOBER_24, 12 * 73 + 1)
    put(kept, [*whole[: 12 * 24 - 6], *whole[12 * 24 + 2 :]])
    assert used(told(kept, ZURICH, "2026-10-24", "2026-10-26")) == [
        ("2026-10-24", 290.0, ""),
        ("2026-10-25", 298.0, ""),
    ]


def test_a_slow_meter_has_wider_limits(kept: Kept) -> None:
    """Three of its readings: at one an hour, none is within a quarter of an hour of midnight."""
    put(kept, readings(OCTOBER_24 - HOUR_MS // 2, 50, step=HOUR_MS))
    assert used(told(kept, ZURICH, "2026-10-24", "2026-10-25")) == [
        ("2026-10-24", None, f"{NO_START} {NO_END}")
    ]
    meter = kept.meter()
    meter.interval = 3600.0
    (period,) = ZURICH.days(ZURICH.time("2026-10-24"), ZURICH.time("2026-10-25"))
    (found,) = energy(kept.store, [meter], [period]).rows
    assert found[6] == 24.0


def test_after_a_reset_the_hours_count(kept: Kept) -> None:
    """Its counter began anew at noon: 144 Wh before, 143 after it, none for the step itself."""
    noon = OCTOBER_24 + 12 * HOUR_MS
    put(kept, [*readings(OCTOBER_24, 145), *readings(noon + STEP, 200, first=146, counter=0.0)], hours=True)
    assert used(told(kept, ZURICH, "2026-10-24", "2026-10-25")) == [("2026-10-24", 287.0, RESET)]


def test_hours_that_are_not_summed_up_yet_count_too(kept: Kept) -> None:
    """As shortly after midnight: the last hour of the day is not looked at yet."""
    noon = OCTOBER_24 + 12 * HOUR_MS
    put(kept, [*readings(OCTOBER_24, 145), *readings(noon + STEP, 200, first=146, counter=0.0)])
    kept.upkeep(now=OCTOBER_24 + 20 * HOUR_MS)
    assert used(told(kept, ZURICH, "2026-10-24", "2026-10-25")) == [("2026-10-24", 287.0, RESET)]


def test_a_day_that_begins_within_an_hour_of_utc_has_no_hours_to_add(kept: Kept) -> None:
    start = at_ms(KATHMANDU.time("2026-10-24"))
    put(kept, [*readings(start, 145), *readings(start + 145 * STEP, 200, first=146, counter=0.0)])
    assert used(told(kept, KATHMANDU, "2026-10-24", "2026-10-25")) == [("2026-10-24", None, RESET)]


def test_another_outbox_is_another_count(kept: Kept) -> None:
    """The register goes on higher by what another sensor had: nobody used that."""
    noon = OCTOBER_24 + 12 * HOUR_MS
    put(kept, [*readings(OCTOBER_24, 145), *readings(noon + STEP, 200, epoch=2, counter=5000.0)], hours=True)
    assert used(told(kept, ZURICH, "2026-10-24", "2026-10-25")) == [("2026-10-24", 287.0, RESET)]


def test_an_odd_value_at_midnight_is_no_register(kept: Kept) -> None:
    """Zero, and the counter again; and a rise that no meter can have."""
    rows = readings(OCTOBER_24, 12 * 73 + 1)
    day = 12 * 24
    for place, odd in ((day, 0.0), (day - 1, 9_000_000.0)):
        rows[place] = readings(OCTOBER_24 + place * STEP, 1, first=place + 1, counter=odd)[0]
    put(kept, rows)
    first, second = told(kept, ZURICH, "2026-10-24", "2026-10-26")
    assert first["register_end"] == second["register_start"] == 1286.0
    assert (first["energy_used"], second["energy_used"]) == (286.0, 302.0)


def test_what_hours_leave_out_is_marked(kept: Kept) -> None:
    """A rise beyond the rating, confirmed by what follows: it is left out, and said."""
    noon = OCTOBER_24 + 12 * HOUR_MS
    put(
        kept,
        [*readings(OCTOBER_24, 145), *readings(noon + STEP, 200, first=146, counter=9_000_000.0)],
        hours=True,
    )
    assert used(told(kept, ZURICH, "2026-10-24", "2026-10-25")) == [
        ("2026-10-24", 287.0, f"{RESET} {DOUBTFUL}")
    ]


def test_both_directions_of_a_two_way_meter(kept: Kept) -> None:
    rows = [
        row(1, n + 1, ts=OCTOBER_24 + n * STEP, energy_import=1000.0 + n, energy_export=500.0 + 2 * n)
        for n in range(12 * 24 + 1)
    ]
    put(kept, rows)
    (found,) = told(kept, ZURICH, "2026-10-24", "2026-10-25")
    names = ("energy_used", "register_start", "register_end", "energy_export", "export_start", "export_end")
    assert [found[name] for name in names] == [288.0, 1000.0, 1288.0, 576.0, 500.0, 1076.0]


def test_a_retired_meter_is_told_of_as_long_as_it_has_registers(kept: Kept) -> None:
    put(kept, [*readings(OCTOBER_24, 300), *readings(OCTOBER_24, 300, number=2)])
    with kept.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE meter SET retired_at = {OCTOBER_24} WHERE key = 2")
    assert len(told(kept, ZURICH, "2026-10-24", "2026-10-25")) == 2
    assert len(told(kept, ZURICH, "2026-11-24", "2026-11-25")) == 1
