"""Load profiles: interval values, their marks and versions, on SQLite and PostgreSQL."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, func, select, update
from sqlmodel import col

from admin.main import main
from bridge.store import profiles
from bridge.store.demand import demand
from bridge.store.due import due_again
from bridge.store.profile_table import MARKS
from bridge.store.tables import DAY_MS, HOUR_MS, LoadProfile, Meter, moment
from bridge.store.upkeep import Policy, upkeep
from broker.calendar import Calendar
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, NOW, Kept, keeping, meter_id, row
from web.serving.answers import CSV

pytest_plugins = ("tests.support.databases",)

MINUTE = 60_000


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as kept:
        yield kept


def at(minute: float, seq: int, energy: float | None = None, **values: Any) -> tuple[Any, ...]:
    """A reading of meter 1, so many minutes after DAY0."""
    return row(1, seq, ts=DAY0 + round(minute * MINUTE), energy=energy, **values)


def minutely(first: int, last: int, *, wh: float = 10.0, start: float = 1000.0) -> list[tuple[Any, ...]]:
    """A reading each minute, each ``wh`` more than the one before."""
    return [at(minute, minute + 1, start + wh * minute) for minute in range(first, last + 1)]


def profile(kept: Kept, *, end: int = DAY0 + DAY_MS) -> list[dict[str, Any]]:
    """The intervals of meter 1, without the time since DAY0."""
    table = kept.store.profiles.table(kept.meter(), start=DAY0, end=end)
    return list(table.documents())


def told(kept: Kept) -> list[tuple[float | None, str, int]]:
    """Energy, mark and version of each interval."""
    return [(one["energy_import"], one["energy_import_mark"], one["version"]) for one in profile(kept)]


def test_energy_is_of_the_registers_and_all_of_it(kept: Kept) -> None:
    kept.put(*minutely(0, 60))
    kept.upkeep()
    assert told(kept)[:4] == [(150.0, "measured", 1)] * 4
    first, *_ = profile(kept)
    assert (first["start"], first["end"], first["readings"]) == (DAY0, DAY0 + 15 * MINUTE, 15)


def test_a_step_over_a_boundary_is_shared_by_time(kept: Kept) -> None:
    kept.put(at(0, 1, 0.0), at(14.5, 2, 100.0), at(15.25, 3, 101.0), at(60, 4, 200.0))
    kept.upkeep()
    assert [energy for energy, *_ in told(kept)[:2]] == [
        100.666,
        pytest.approx(0.334 + 99 * 14.75 / 44.75, abs=0.001),
    ]
    assert sum(energy or 0 for energy, *_ in told(kept)) == pytest.approx(200, abs=1e-9)


def test_what_is_measured_interpolated_estimated_and_missing(kept: Kept) -> None:
    kept.put(*minutely(2, 15), *minutely(45, 50), at(51, 52, 3.0), at(52, 53, 4.0))
    kept.upkeep()
    assert [(energy, mark) for energy, mark, _ in told(kept)] == [
        (130.0, "missing"), (150.0, "interpolated"), (150.0, "interpolated"), (51.0, "missing"),
    ]  # fmt: skip
    kept.put(at(60, 61, 12.0))
    kept.upkeep()
    assert told(kept)[3] == (59.0, "estimated", 2), "the counter was reset: what it was before is unknown"


def test_another_epoch_in_an_outage_takes_nothing_from_it(kept: Kept) -> None:
    kept.put(*minutely(0, 50), *minutely(300, 330))
    kept.upkeep(now=DAY0 + 7 * HOUR_MS)
    other = [row(1, n + 1, ts=DAY0 + (121 + n) * MINUTE, epoch=2, energy=float(n)) for n in range(51)]
    kept.put(*other)
    kept.upkeep(now=DAY0 + 7 * HOUR_MS)
    assert sum(energy or 0 for energy, *_ in told(kept)) == 3350
    assert told(kept)[9] == (165.0, "interpolated", 2)


def test_an_outage_is_filled_when_the_meter_is_back(kept: Kept) -> None:
    kept.put(*minutely(0, 50))
    kept.upkeep(now=DAY0 + 2 * HOUR_MS)
    assert told(kept)[3] == (50.0, "missing", 1)
    assert len(told(kept)) == 4
    kept.put(*minutely(300, 330))
    kept.upkeep(now=DAY0 + 7 * HOUR_MS)
    assert told(kept)[2:5] == [(150.0, "measured", 1), (150.0, "interpolated", 2), (150.0, "interpolated", 1)]
    assert sum(energy or 0 for energy, *_ in told(kept)) == 3300
    (correction,) = kept.store.profiles.corrections(kept.meter(), start=DAY0, end=DAY0 + DAY_MS)
    assert (correction.start, correction.version) == (DAY0 + 45 * MINUTE, 2)
    assert correction.ts == DAY0 + 7 * HOUR_MS
    assert json.loads(correction.before) == {"energy_import": 50_000, "energy_import_mark": 3}


def test_late_readings_correct_and_say_so(kept: Kept) -> None:
    readings = minutely(0, 120)
    late = readings[20:25]
    kept.put(*(one for one in readings if one not in late))
    kept.upkeep()
    assert told(kept)[1] == (150.0, "interpolated", 1)
    kept.put(*late)
    kept.upkeep()
    assert told(kept)[1] == (150.0, "measured", 2)
    (correction,) = kept.store.profiles.corrections(kept.meter(), start=DAY0, end=DAY0 + DAY_MS)
    assert (correction.why, json.loads(correction.before)["readings"]) == ("late readings", 10)
    kept.upkeep()
    assert told(kept)[1][2] == 2, "nothing new is no version"


def test_both_directions_and_reactive_energy(kept: Kept) -> None:
    kept.put(
        *(
            at(
                minute,
                minute + 1,
                energy_import=5.0 * minute,
                energy_export=7.0,
                reactive_import=2.0 * minute,
            )
            for minute in range(61)
        )
    )
    kept.upkeep()
    first, *_ = profile(kept)
    assert (first["energy_import"], first["energy_export"], first["reactive_import"]) == (75.0, 0.0, 30.0)
    assert {first[f"{name}_mark"] for name in ("energy_import", "energy_export", "reactive_import")} == {
        "measured"
    }
    assert "reactive_export" not in first


def test_power_and_voltage(kept: Kept) -> None:
    kept.put(
        at(1, 1, 0.0, power=-10.0, voltage=230.0), at(2, 2, 1.0, power=30.0), at(16, 3, 2.0, voltage=231.5)
    )
    kept.upkeep()
    first, second, *_ = profile(kept)
    assert [first[f"power_{what}"] for what in ("mean", "min", "max")] == [10.0, -10.0, 30.0]
    assert (first["voltage_mean"], second["voltage_mean"], second["power_mean"]) == (230.0, 231.5, None)


def test_more_than_a_month_is_not_spread(kept: Kept) -> None:
    later = DAY0 + 32 * DAY_MS
    kept.put(at(0, 1, 0.0), at(1, 2, 1.0))
    kept.upkeep(now=DAY0 + DAY_MS)
    kept.put(row(1, 3, ts=later + MINUTE, energy=500.0), row(1, 4, ts=later + 2 * MINUTE, energy=501.0))
    kept.upkeep(now=later + DAY_MS)
    rows = profile(kept, end=later + DAY_MS)
    assert len(rows) == 8
    assert (rows[4]["start"], rows[4]["energy_import"]) == (later, 500.0)


def test_what_stands_for_more_than_a_month_is_no_measured_value(kept: Kept) -> None:
    later = 32 * 24 * 60
    kept.put(at(0, 1, 0.0), *(at(later + minute, minute + 2, 500.0 + minute) for minute in range(31)))
    kept.upkeep(now=DAY0 + 33 * DAY_MS)
    first, second, *_ = profile(kept, end=DAY0 + 33 * DAY_MS)[4:]
    assert (first["start"], first["energy_import"]) == (DAY0 + 32 * DAY_MS, 515.0)
    assert (first["energy_import_mark"], second["energy_import_mark"]) == ("estimated", "measured")


def test_a_clock_that_is_set_back_by_hours_loses_nothing(kept: Kept) -> None:
    kept.put(*minutely(0, 180), *(at(60.5 + n, 182 + n, 2810.0 + 10 * n) for n in range(60)))
    kept.upkeep()
    assert sum(energy or 0 for energy, *_ in told(kept)) == 1800 + 10 * 60


def test_a_roll_over_in_an_outage_counts_once_it_is_confirmed(kept: Kept) -> None:
    end = 9_999_990.0
    kept.put(*minutely(0, 50, start=end - 1000.0), at(355, 52, 200.0))
    kept.upkeep(now=DAY0 + 6 * HOUR_MS + 10 * MINUTE)
    assert told(kept)[5] == (0.0, "estimated", 1)
    kept.put(*(at(360 + n, 53 + n, 210.0 + n) for n in range(60)))
    kept.upkeep()
    assert sum(energy or 0 for energy, *_ in told(kept)) == pytest.approx(1000 + 210 + 59, abs=1e-9)
    assert told(kept)[5][1:] == ("interpolated", 2)


def test_intervals_stay_when_retention_deletes_their_readings(kept: Kept) -> None:
    kept.put(*minutely(0, 130))
    kept.upkeep()
    before = told(kept)
    kept.upkeep(now=NOW + 400 * DAY_MS, keep=timedelta(days=30))
    assert kept.readings() == []
    kept.put(at(30, 31, 5.0))
    kept.upkeep(now=NOW + 400 * DAY_MS)
    assert told(kept) == before


def test_intervals_of_an_outage_stay_when_the_reading_before_it_is_deleted(kept: Kept) -> None:
    kept.put(*(at(n + 0.5, n + 1, 10.0 * n) for n in (*range(51), *range(300, 401))))
    kept.upkeep(now=DAY0 + 8 * HOUR_MS)
    before = told(kept)
    now = DAY0 + 2 * HOUR_MS + 2 * DAY_MS
    kept.upkeep(now=now, keep=timedelta(days=2))
    assert len(kept.readings()) == 101
    with kept.engine.begin() as connection:
        assert due_again(connection, start=DAY0, end=DAY0 + DAY_MS) == 3
    for _ in range(2):
        kept.upkeep(now=now, keep=timedelta(days=2))
        assert told(kept) == before


def test_the_hour_that_a_time_begins_in_is_computed_again_too(kept: Kept) -> None:
    kept.put(*minutely(0, 130))
    kept.upkeep()
    with kept.engine.begin() as connection:
        assert due_again(connection, start=DAY0 + 75 * MINUTE, end=DAY0 + 125 * MINUTE) == 2
        assert due_again(connection, start=DAY0 + 75 * MINUTE, end=DAY0 + 120 * MINUTE) == 1


@pytest.mark.parametrize("minutes", [5, 30, 60])
def test_other_lengths(kept: Kept, minutes: int) -> None:
    kept.put(*minutely(0, 60))
    upkeep(kept.engine, Policy(interval_minutes=minutes), now=NOW, pause=lambda _seconds: False)
    assert [energy for energy, mark, _ in told(kept) if mark == "measured"] == [10.0 * minutes] * (
        60 // minutes
    )


def test_a_slow_meter_measures_what_it_can(kept: Kept) -> None:
    kept.put(at(0, 1, 0.0), *(at(10 * n, n + 1, 60.0 * n) for n in range(1, 7)))
    with kept.engine.begin() as connection:
        connection.execute(update(Meter).values(interval=600.0))
    kept.upkeep()
    assert told(kept)[:4] == [(90.0, "measured", 1)] * 4, "a reading every ten minutes is all that it gives"


def test_the_maximum_demand_of_a_day_and_its_time(kept: Kept) -> None:
    kept.put(
        *minutely(0, 30),
        *minutely(31, 45, wh=20.0, start=1000.0 - 300.0),
        *minutely(46, 24 * 60, start=1150.0),
    )
    kept.upkeep()
    utc = Calendar.named("UTC")
    (day,) = utc.days(moment(DAY0), moment(DAY0 + DAY_MS))
    table = demand(kept.store.profiles, [kept.meter()], [day])
    (found,) = list(table.documents())
    assert (found["demand_max"], found["demand_at"], found["demand_mark"]) == (
        1200.0,
        DAY0 + 30 * MINUTE,
        "measured",
    )
    assert found["energy_import"] == 14_550.0
    assert [found[mark] for mark in MARKS] == [96, 0, 0, 0]


def test_the_demand_of_what_is_not_there(kept: Kept) -> None:
    kept.put(*minutely(0, 90))
    kept.upkeep()
    days = list(Calendar.named("UTC").days(moment(DAY0), moment(DAY0 + 2 * DAY_MS)))
    table = demand(kept.store.profiles, [kept.meter()], days)
    first, second = table.documents()
    assert ([first[mark] for mark in MARKS], first["energy_import"]) == ([6, 0, 0, 90], 900.0)
    assert (second["demand_max"], second["missing"]) == (None, 96)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_intervals_of_several_lengths_are_counted_by_day(kept: Kept, zone: str) -> None:
    kept.put(*minutely(0, 3 * 24 * 60))
    for minutes, day in ((5, 1), (60, 3)):
        policy = Policy(interval_minutes=minutes)
        upkeep(kept.engine, policy, now=DAY0 + day * DAY_MS + 10 * MINUTE, pause=lambda _seconds: False)
    days = list(Calendar.named(zone).days(moment(DAY0), moment(DAY0 + 3 * DAY_MS)))
    table = demand(kept.store.profiles, [kept.meter()], days)
    found = list(table.documents())
    assert [one["missing"] for one in found] == [0] * len(days)
    assert len({one["end"] - one["start"] for one in profile(kept, end=DAY0 + 3 * DAY_MS)}) == 2


# --- shown -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with inside(tmp_path_factory.mktemp("profiles")) as web:
        web.kept.put(*minutely(0, 50))
        web.kept.upkeep(now=DAY0 + 2 * HOUR_MS)
        second = [
            row(2, n + 1, ts=DAY0 + n * MINUTE, energy_import=float(n), energy_export=2.0 * n)
            for n in range(61)
        ]
        web.kept.put(*minutely(120, 180), *second)
        web.kept.upkeep(now=DAY0 + DAY_MS)
        yield web


def run(web: Inside, *arguments: str, code: int = 0) -> None:
    """A command on this store."""
    with pytest.raises(SystemExit) as end:
        main(["profile", *arguments, "--database", web.kept.url, "--time-zone", "UTC"])
    assert (end.value.code or 0) == code


def test_on_the_command_line(web: Inside, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    day = ("--from", "2026-11-23", "--until", "2026-11-24")
    run(web, meter_id(1), *day, "--json")
    rows = json.loads(capfd.readouterr().out)
    assert (rows[0]["start"], rows[0]["energy_import"]) == ("2026-11-23T00:00:00.000Z", 150.0)
    assert [one["energy_import_mark"] for one in rows[2:5]] == ["measured", "interpolated", "interpolated"]
    run(web, meter_id(1), *day)
    assert "interpolated" in capfd.readouterr().out
    run(web, *day, "--csv")
    found = list(csv.DictReader(io.StringIO(capfd.readouterr().out)))
    assert {one["meter_id"] for one in found} == {meter_id(1), meter_id(2)}
    assert (found[0]["energy_export"], found[-8]["energy_export"]) == ("", "30.0")
    file = tmp_path / "profile.parquet"
    run(web, *day, "--parquet", str(file))
    table = pq.read_table(file)
    assert table.num_rows == len(found)
    assert {*table["energy_import_mark"].to_pylist()} == {"measured", "interpolated", "missing"}
    assert table.schema.field("version").type == "int64"
    run(web, meter_id(1), *day, "--corrections", "--json")
    (correction,) = json.loads(capfd.readouterr().out)
    assert (correction["version"], correction["before"]["energy_import"]) == (2, 50_000)


def test_hours_of_before_an_upgrade_are_computed_on_demand(kept: Kept) -> None:
    kept.put(*minutely(0, 130))
    kept.upkeep()
    before = told(kept)
    with kept.engine.begin() as connection:
        connection.execute(delete(LoadProfile))
    for arguments, code in ((["--from", "2026-11-23"], 0), ([], 2)):
        with pytest.raises(SystemExit) as end:
            main(["store", "recompute", *arguments, "--time-zone", "UTC", "--database", kept.url])
        assert (end.value.code or 0) == code
    assert told(kept) == []
    kept.upkeep()
    assert told(kept) == before


def test_a_clock_that_leaps_to_and_fro_stays_cheap(kept: Kept) -> None:
    """Each leap back is 20 days long; a step over them would have to do with each of 480 hours."""
    back = 20 * DAY_MS
    readings = [row(1, n + 1, ts=DAY0 + n * 10_000 - back * (n % 2), energy=float(n)) for n in range(360)]
    kept.put(*readings)
    kept.upkeep()
    with kept.engine.connect() as connection:
        size = connection.scalar(select(func.sum(func.length(col(LoadProfile.data))))) or 0
    assert size < 20_000
    table = kept.store.profiles.table(kept.meter(), start=DAY0 - 2 * back, end=DAY0 + DAY_MS)
    assert sum(energy or 0 for energy in (found[2] for found in table.rows)) == 359.0


def test_a_backlog_is_computed_hour_by_hour(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first reading after an outage was there before those of the outage: no renewal is a long one."""
    kept.put(at(0, 1, 1000.0), at(1, 2, 1010.0), at(72 * 60, 72 * 60 + 1, 1000.0 + 72 * 600.0))
    kept.upkeep(now=DAY0 + 74 * HOUR_MS)
    spans = []
    write = profiles._Renewal._write

    def noted(self: Any, found: Any, first: int, end: int) -> Any:
        spans.append((end - first) // HOUR_MS)
        return write(self, found, first, end)

    monkeypatch.setattr(profiles._Renewal, "_write", noted)
    kept.put(*minutely(2, 72 * 60 - 1))
    kept.upkeep()
    assert len(spans) == 72
    assert max(spans) <= 2
    assert {energy for energy, *_ in told(kept)[:280]} == {150.0}


def test_demand_on_the_command_line(web: Inside, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["demand", "--by", "day", "--from", "2026-11-23", "--until", "2026-11-24", "--time-zone", "UTC"]
    for form in ("--csv", "--json", ""):
        with pytest.raises(SystemExit) as end:
            main([*asked, *filter(None, [form]), "--database", web.kept.url])
        assert not end.value.code
    out = capfd.readouterr().out
    first, *_ = csv.DictReader(io.StringIO(out))
    assert (first["demand_max"], first["demand_at"]) == ("600.0", "2026-11-23T00:00:00.000Z")
    assert json.loads(out[out.index("[") : out.rindex("]") + 1])[0]["demand_mark"] == "measured"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "--csv or --parquet"),
        (("--csv", "--json"), "choose one"),
        (("--corrections",), "one METER"),
        ((meter_id(1), "--corrections", "--csv"), "one METER"),
    ],
)
def test_what_cannot_be_is_refused(
    web: Inside, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    run(web, *arguments, code=2)
    assert why in capfd.readouterr().err


async def test_over_http(web: Inside) -> None:
    path, day = (
        f"/api/v1/meters/{meter_id(1)}/profile",
        {"start": "2026-11-23", "end": "2026-11-24", "time_zone": "UTC"},
    )
    answer = await web.client.get(path, params=day)
    first = answer.json()["intervals"][0]
    assert (first["start"], first["energy_import"], first["version"]) == (
        "2026-11-23T00:00:00.000Z",
        150.0,
        1,
    )
    answer = await web.client.get(path, params=day, headers={"Accept": CSV})
    assert next(csv.DictReader(io.StringIO(answer.text)))["energy_import_mark"] == "measured"
    empty = await web.client.get(path, params={"start": "2026-10-01", "end": "2026-10-02"})
    assert empty.json()["intervals"] == []
    assert (
        await web.client.get(path, params={"start": "2024-01-01", "end": "2026-11-24"})
    ).status_code == 422
    assert (await web.client.get(f"/api/v1/meters/{meter_id(7)}/profile")).status_code == 404
    answer = await web.client.get("/api/v1/demand", params={**day, "by": "day"})
    assert [one["demand_max"] for one in csv.DictReader(io.StringIO(answer.text))] == ["600.0", "60.0"]


async def test_a_long_profile_over_http_is_an_export(web: Inside) -> None:
    path, exports = f"/api/v1/meters/{meter_id(1)}/profile", web.parts.budgets.exports
    year = {"start": "2026-01-01", "end": "2026-11-24"}
    with exports.place("anna"), exports.place("anna"):
        assert (await web.client.get(path, params=year)).status_code == 429
        assert (await web.client.get(path, params={"month": "2026-10"})).status_code == 200
    assert (await web.client.get(path, params=year)).status_code == 200
