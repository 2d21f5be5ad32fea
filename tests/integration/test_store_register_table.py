"""Raw and corrected registers at local midnights, against the load profile and plain sums."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from admin.main import main
from bridge.ingest.rows import Row
from bridge.store.demand import demand
from bridge.store.profile_format import Day, Joint
from bridge.store.register_table import register_table, totals
from bridge.store.tables import DAY_MS, HOUR_MS, ProfileSum, at_ms
from bridge.store.upkeep import Policy, upkeep
from broker.calendar import Calendar
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, NOW, Kept, keeping, meter_id, row
from web.serving.answers import CSV

pytest_plugins = ("tests.support.databases",)

MINUTE = 60_000
ZURICH = Calendar.named("Europe/Zurich")


def minutely(first: int, last: int, *, seq: int = 1, **more: Any) -> list[Row]:
    """A reading at every fifth minute after DAY0: 2 Wh a minute, and a reset after 30 hours."""
    return [
        row(1, seq + minute, ts=DAY0 + minute * MINUTE, energy_import=_counter(minute), power=120.0, **more)
        for minute in range(first, last, 5)
    ]


def _counter(minute: int) -> float:
    return 1000.0 + 2 * minute if minute < 1800 else 2.0 * (minute - 1800)


def rows(kept: Kept, first: str, last: str, calendar: Calendar = ZURICH) -> list[dict[str, Any]]:
    """Those of meter 1 at the midnights of these days."""
    days = list(calendar.days(calendar.time(first), calendar.time(last)))
    table = register_table(kept.store, [kept.meter()], days, calendar)
    return list(table.documents())


def test_corrected_registers_go_on_over_a_reset(database_url: str) -> None:
    with keeping(database_url) as kept:
        kept.put(*minutely(0, 4 * 1440, energy_export=7.0))
        kept.upkeep()
        found = rows(kept, "2026-11-23", "2026-11-26")
        assert [one["date"] for one in found] == ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26"]
        assert [one["ts"] - DAY0 for one in found] == [day * DAY_MS - HOUR_MS for day in range(4)]
        assert [one["energy_import"] for one in found] == [None, 2 * 1380, 2 * (2820 - 5), 2 * (4260 - 5)]
        assert [one["energy_import_raw"] for one in found] == [None, 3760.0, 2040.0, 4920.0]
        assert found[1]["energy_import_raw_at"] == found[1]["ts"]
        assert [one["energy_import_mark"] for one in found] == [None, *["interpolated"] * 3]
        assert [one["energy_export"] for one in found] == [None, 0, 0, 0]
        assert found[0]["reactive_import"] is found[3]["reactive_import"] is None


def test_a_total_is_the_sum_of_all_intervals_before_it_at_any_boundary(database_url: str) -> None:
    with keeping(database_url) as kept:
        kept.put(*minutely(0, 1000), *minutely(2500, 4000))
        kept.upkeep()
        intervals = list(kept.store.profiles.table(kept.meter(), start=0, end=DAY0 + 9 * DAY_MS).rows)
        times = range(DAY0, DAY0 + 3 * DAY_MS, 7 * 900_000)
        for total in totals(kept.store.profiles, [kept.meter()], times)[1]:
            plain = sum(
                round(1000 * one[2]) for one in intervals if one[1] <= total.at and one[2] is not None
            )
            assert (total.values["energy_import"] or 0) == plain
            assert total.version == sum(one[-1] for one in intervals if one[1] <= total.at)


def test_the_energy_of_a_day_that_begins_inside_of_an_interval_is_the_difference_of_two_registers(
    tmp_path: Path,
) -> None:
    """In India a day begins at 18:30 UTC."""
    india = Calendar.named("Asia/Kolkata")
    with keeping(f"sqlite:///{tmp_path}/india.sqlite") as kept:
        steps = (row(1, n + 1, ts=DAY0 + n * 300_000, energy_import=float(n * n // 50)) for n in range(1000))
        kept.put(*steps)
        upkeep(kept.engine, Policy(interval_minutes=60), now=NOW, pause=lambda _: False)
        registers = [one["energy_import"] for one in rows(kept, "2026-11-24", "2026-11-26", india)]
        days = list(india.days(india.time("2026-11-24"), india.time("2026-11-26")))
        used = [row[6] for row in demand(kept.store.profiles, [kept.meter()], days).rows]
        assert used == [later - earlier for earlier, later in pairwise(registers)]


def test_a_field_alone_is_what_it_is_among_the_others() -> None:
    day = Day(DAY0, 15)
    day.put(3, {"energy_import": 7, "power_mean": 5, "power_min": 4})
    day.join("energy_import", DAY0, [Joint(1, 2, 3, 4, 5)])
    day.join("energy_export", DAY0, [Joint(1, 2, 3, 4, 5)])
    data = day.encoded()
    for name in ("energy_import", "version", "energy_export", "power_mean", "power_min"):
        alone, whole = Day(DAY0, 15, data), Day(DAY0, 15, data)
        assert "power_mean" in whole.names
        assert alone.column(name) == whole.column(name) == day.column(name)
    assert Day(DAY0, 15, data).total("energy_export") is None


def test_a_late_reading_is_a_new_version(tmp_path: Path) -> None:
    with keeping(f"sqlite:///{tmp_path}/late.sqlite") as kept:
        kept.put(*minutely(0, 1000), *minutely(1300, 1440))
        kept.upkeep()
        before = rows(kept, "2026-11-23", "2026-11-24")[1]
        kept.put(*minutely(1000, 1300))
        kept.upkeep()
        after = rows(kept, "2026-11-23", "2026-11-24")[1]
        assert after["energy_import"] == before["energy_import"] == 2760.0
        assert after["version"] > before["version"]
        assert kept.count(ProfileSum) == 1


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Inside]:
    """A meter with two days, and the application over it."""
    with inside(tmp_path) as web:
        web.kept.put(*minutely(0, 2 * 1440 + 60))
        web.kept.upkeep()
        yield web


async def test_over_http(web: Inside) -> None:
    path, asked = f"/api/v1/meters/{meter_id(1)}/registers", {"start": "2026-11-23", "end": "2026-11-25"}
    answer = await web.client.get(path, params=asked | {"time_zone": "UTC"})
    told = answer.json()["registers"]
    assert [one["energy_import"] for one in told] == [None, 2880.0, 2 * (2880 - 5)]
    assert "energy_export" not in told[0]
    assert (told[1]["ts"], told[1]["energy_import_mark"]) == ("2026-11-24T00:00:00.000Z", "interpolated")
    table = await web.client.get(path, params=asked | {"time_zone": "UTC"}, headers={"Accept": CSV})
    assert [one["date"] for one in csv.DictReader(io.StringIO(table.text))][-1] == "2026-11-25"
    empty = await web.client.get(path, params={"month": "2026-10", "by": "month"})
    assert [one["energy_import"] for one in empty.json()["registers"]] == [None, None]
    xml = await web.client.get(path, params=asked, headers={"Accept": "application/xml"})
    assert xml.status_code == 200
    assert (await web.client.get(path, params={"start": "2024-01-01"})).status_code == 422
    assert (await web.client.get(f"/api/v1/meters/{meter_id(7)}/registers")).status_code == 404


def test_on_the_command_line(web: Inside, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["registers", meter_id(1), "--from", "2026-11-23", "--until", "2026-11-25", "--time-zone", "UTC"]
    for form in ("--csv", "--json", ""):
        with pytest.raises(SystemExit) as end:
            main([*asked, *filter(None, [form]), "--database", web.kept.url])
        assert not end.value.code
    out = capfd.readouterr().out
    *_, last = list(csv.DictReader(io.StringIO(out[: out.index("[")])))
    assert (last["date"], last["energy_import"]) == ("2026-11-25", "5750.0")
    told = json.loads(out[out.index("[") : out.rindex("]") + 1])
    assert at_ms(datetime.fromisoformat(told[1]["ts"])) == DAY0 + DAY_MS
    assert "energy_export" not in told[1]
