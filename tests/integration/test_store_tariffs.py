"""Energy by tariff from load profiles: against demand's sum, on the command line, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from admin.main import main
from bridge.store.demand import demand
from bridge.store.export import Table
from bridge.store.profile_table import MARKS
from bridge.store.tables import DAY_MS, HOUR_MS, Meter, moment
from bridge.store.tariff_energy import any_exports, tariff_energy
from bridge.store.tariffs import parse
from bridge.store.upkeep import Policy, upkeep
from broker.calendar import Calendar, Period
from broker.contract.errors import ConfigurationError
from tests.support.stores import DAY0, NOW, Kept, keeping, meter_id, row

pytest_plugins = ("tests.support.databases",)

MINUTE = 60_000
UTC, ZURICH = Calendar.named("UTC"), Calendar.named("Europe/Zurich")
TEXT = """
[[version]]
from = 2026-01-01
default = "T2"
names = {{ T5 = "Never" }}
[[version.times]]
days = ["workday"]
hours = ["{hours}"]
tariff = "T1"
"""


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as kept:
        yield kept


def put(kept: Kept) -> None:
    """Meter 1 imports unequal energy, with a gap; meter 2 has both directions, an hour long."""
    readings = [
        row(1, n + 1, ts=DAY0 + n * MINUTE, energy=1000.0 + 0.7 * n + n // 7 / 4)
        for n in range(2 * 24 * 60 + 1)
        if not 500 < n < 700
    ]
    both = [
        row(2, n + 1, ts=DAY0 + n * MINUTE, energy_import=float(n), energy_export=2.0 * n)
        for n in range(5 * 60, 8 * 60 + 1)
    ]
    kept.put(*readings, *both)


def rows_of(table: Table) -> list[dict[str, Any]]:
    return list(table.documents())


def days_of(calendar: Calendar, count: int) -> list[Period]:
    """The whole local days from an hour before DAY0 to ``count`` days after it."""
    return list(calendar.days(moment(DAY0 - HOUR_MS), moment(DAY0 + count * DAY_MS)))


def test_each_interval_belongs_to_the_tariff_at_its_begin(kept: Kept) -> None:
    put(kept)
    kept.upkeep()
    tariffs = parse(TEXT.format(hours="06:00-07:00"), source="x", calendar=UTC)
    table = tariff_energy(kept.store.profiles, [kept.meter(2)], days_of(UTC, 2), tariffs)
    first, second = rows_of(table)
    assert table.fields[6:-4] == (
        "energy_t1", "energy_t2", "energy_t5", "export_t1", "export_t2", "export_t5",
    )  # fmt: skip
    assert [first[name] for name in table.fields[6:-4]] == [60.0, 120.0, None, 120.0, 240.0, None]
    assert [first[mark] for mark in MARKS] == [12, 0, 0, 64], "none before its first hour"
    assert [second[name] for name in table.fields[6:-4]] == [None] * 6
    assert second["missing"] == 96
    days = rows_of(tariff_energy(kept.store.profiles, [kept.meter(1)], days_of(UTC, 2), tariffs))
    assert [day["energy_t1"] for day in days] == [44.25, 44.0]


def test_tariffs_are_of_their_own_time_zone(kept: Kept) -> None:
    put(kept)
    kept.upkeep()
    tariffs = parse(TEXT.format(hours="06:00-07:15"), source="x", calendar=ZURICH)
    (first,) = rows_of(tariff_energy(kept.store.profiles, [kept.meter(2)], days_of(UTC, 1), tariffs))
    assert (first["energy_t1"], first["energy_t2"]) == (75.0, 105.0), "05:00 to 06:15 in UTC"


@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
def test_all_tariffs_together_are_the_energy_of_demand(kept: Kept, minutes: int) -> None:
    put(kept)
    upkeep(kept.engine, Policy(interval_minutes=minutes), now=NOW, pause=lambda _seconds: False)
    tariffs = parse(TEXT.format(hours="08:00-17:00"), source="x", calendar=ZURICH)
    periods = days_of(ZURICH, 4)
    meters = [kept.meter(1), kept.meter(2)]
    found = rows_of(tariff_energy(kept.store.profiles, meters, periods, tariffs, export=False))
    wanted = rows_of(demand(kept.store.profiles, meters, periods))
    assert len(found) == 8
    for one, other in zip(found, wanted, strict=True):
        parts = [value for name, value in one.items() if name.startswith("energy_") and value is not None]
        total = other["energy_import"]
        assert round(1000 * sum(parts)) == round(1000 * (total or 0))
        assert (parts == []) is (total is None)
        same = ("meter_id", "period", "start", "end", *MARKS)
        assert [one[name] for name in same] == [other[name] for name in same]
    assert {one["energy_t1"] is None for one in found} == {False, True}
    assert found[0]["interpolated"] > 0


def test_of_the_days_of_years_one_at_a_time_is_unpacked(kept: Kept) -> None:
    put(kept)
    kept.upkeep()
    time = {"start": DAY0, "end": DAY0 + 3 * DAY_MS}
    days = kept.store.profiles.each_day(kept.meter(1), **time)
    first = weakref.ref(next(days))
    second = next(days)
    assert first() is None
    assert [second.start, *(day.start for day in days)] == [
        day.start for day in kept.store.profiles.days(kept.meter(1), **time)[1:]
    ]


def test_a_tariff_that_begins_in_an_interval_is_refused(kept: Kept) -> None:
    put(kept)
    kept.upkeep()
    tariffs = parse(TEXT.format(hours="06:00-21:05"), source="tariffs.toml", calendar=ZURICH)
    table = tariff_energy(kept.store.profiles, [kept.meter(1)], days_of(UTC, 1), tariffs)
    with pytest.raises(ConfigurationError) as refused:
        rows_of(table)
    assert str(refused.value) == (
        "tariffs.toml: T2 begins at 21:05 on 2026-11-23, inside of an interval of the load profile "
        "(15 minutes): use a boundary of intervals"
    )
    table = tariff_energy(kept.store.profiles, [kept.meter(2)], days_of(UTC, 1), tariffs)
    assert rows_of(table)[0]["energy_t1"] == 180.0, "this meter has no interval at that time"


def test_the_last_interval_of_a_period_may_end_after_it(kept: Kept) -> None:
    put(kept)
    upkeep(kept.engine, Policy(interval_minutes=60), now=NOW, pause=lambda _seconds: False)
    kolkata = Calendar.named("Asia/Kolkata")  # its midnight is at half past an hour of UTC
    tariffs = parse(TEXT.format(hours="00:00-06:30"), source="x", calendar=kolkata)
    table = tariff_energy(kept.store.profiles, [kept.meter(1)], days_of(kolkata, 2), tariffs)
    with pytest.raises(ConfigurationError, match="T1 begins at 00:00 on 2026-11-25"):
        rows_of(table)
    tariffs = parse(TEXT.format(hours="06:30-12:30"), source="x", calendar=kolkata)
    table = tariff_energy(kept.store.profiles, [kept.meter(1)], days_of(kolkata, 2), tariffs)
    assert len(rows_of(table)) == 1, "nothing changes in this interval"


def test_exports_are_known_by_birth_or_by_intervals(kept: Kept) -> None:
    put(kept)
    kept.upkeep()
    profiles, day = kept.store.profiles, days_of(UTC, 2)
    assert any_exports(profiles, [kept.meter(1), kept.meter(2)], day)
    assert not any_exports(profiles, [kept.meter(1)], day)
    assert not any_exports(profiles, [kept.meter(2)], [])
    with kept.engine.begin() as connection:
        connection.execute(update(Meter).values(quantities="power,energy_import,energy_export"))
    assert any_exports(profiles, [kept.meter(1)], [])


# --- on the command line -----------------------------------------------------------------------------

DAY = ("--by", "day", "--from", "2026-11-23", "--until", "2026-11-24")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with keeping(f"sqlite:///{tmp_path_factory.mktemp('tariffs')}/x.sqlite") as kept:
        put(kept)
        kept.upkeep()
        yield kept


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tariffs.toml"
    file.write_text('time_zone = "UTC"\n' + TEXT.format(hours="06:00-07:00"))
    return file


def run(*arguments: object, code: int = 0) -> None:
    """`meter61850 tariffs`."""
    with pytest.raises(SystemExit) as end:
        main(["tariffs", *map(str, arguments)])
    assert (end.value.code or 0) == code


def test_energy_in_every_form(
    full: Kept, file: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("energy", *DAY, "--database", full.url)
    run(*asked, "--tariffs", file, "--csv")
    first, second = csv.DictReader(io.StringIO(capfd.readouterr().out))
    assert (first["energy_t1"], first["export_t1"]) == ("44.25", "")
    assert (second["energy_t1"], second["energy_t2"], second["export_t2"]) == ("60.0", "120.0", "240.0")
    assert (second["period"], second["start"]) == ("2026-11-23", "2026-11-23T00:00:00.000Z")
    run(*asked, "--tariffs", file, "--json", meter_id(2))
    (one,) = json.loads(capfd.readouterr().out)
    assert (one["energy_t1"], one["energy_t5"], one["missing"]) == (60.0, None, 64)
    assert (one["start"], one["end"]) == ("2026-11-23T00:00:00.000Z", "2026-11-24T00:00:00.000Z")
    monkeypatch.setenv("METER61850_TARIFFS", str(file))
    run(*asked)
    told = capfd.readouterr()
    assert "energy t1" in told.out
    assert "240" in told.out
    assert "in Wh" in told.err
    run(*asked, meter_id(1))
    assert "export" not in capfd.readouterr().out
    parquet = file.with_name("x.parquet")
    run(*asked, "--parquet", parquet)
    table = pq.read_table(parquet)
    assert table["energy_t1"].to_pylist() == [44.25, 60.0]
    assert table.schema.field("export_t5").type == "double"
    run("energy", "--month", "2026-11", "--time-zone", "Europe/Zurich", "--json", "--database", full.url)
    month, _ = json.loads(capfd.readouterr().out)
    assert (month["period"], month["start"]) == ("2026-11", "2026-10-31T23:00:00.000Z")
    assert month["energy_t1"] == 88.25, "the tariffs' hours are of the file's zone on both days"


def test_periods_before_the_first_version(full: Kept, file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file.write_text(file.read_text().replace("2026-01-01", "2099-01-01"))
    run("energy", "--tariffs", file, "--database", full.url)
    assert "no whole period" in capfd.readouterr().err
    run("energy", "--tariffs", file, *DAY, "--database", full.url, code=2)
    assert "no version holds on 2026-11-23: the first begins on 2099-01-01" in capfd.readouterr().err
    run("now", "--tariffs", file, code=2)
    assert "the first begins on 2099-01-01" in capfd.readouterr().err


def test_check_and_example(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run("example")
    file.write_text(capfd.readouterr().out)
    run("check", file)
    told = capfd.readouterr()
    assert "2 versions; T1 High, T2 Low, T3 Weekend; Europe/Zurich" in told.err
    assert "11-01 to 03-31" in told.out
    assert "all year" in told.out
    run("check", file, "--json")
    first, second, last = json.loads(capfd.readouterr().out)
    assert (first["from"], first["until"], first["T1"]) == ("2026-01-01", "2026-12-31", 65.0)
    assert (second["season"], second["T1"], second["holidays"]) == ("11-01 to 03-31", 75.0, 4)
    assert (last["until"], last["T1"], last["T2"]) == (None, 168.0, None)
    file.write_text(file.read_text().replace("22:00-06:00", "22:00-6:00"))
    run("check", file, code=2)
    assert f"error: {file}: version 1, times 3, hours 1: '22:00-6:00': use times" in capfd.readouterr().err


def test_now(file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file.write_text('[[version]]\nfrom = 2026-01-01\ndefault = "T3"\nnames = { T3 = "Flat" }')
    run("now", "--tariffs", file)
    told = capfd.readouterr()
    assert "T3" in told.out
    assert "no change in the next 400 days" in told.err
    halves = '[[version.times]]\nhours = ["00:00-12:00"]\ntariff = "T1"\n'
    file.write_text(f"{file.read_text()}\n{halves}")
    run("now", "--tariffs", file, "--json", "--time-zone", "UTC")
    now = json.loads(capfd.readouterr().out)
    assert (now["tariff"], now["next"], now["name"], now["until"][11:13]) in [
        ("T3", "T1", "Flat", "00"), ("T1", "T3", "", "12"),
    ]  # fmt: skip
    run("now", "--tariffs", file, "--time-zone", "UTC")
    assert "UTC" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("energy", *DAY), "Missing option '--tariffs'"),
        (("energy", "--tariffs", "/no such file", *DAY), "begin with `meter61850 tariffs example"),
        (("energy", "--tariffs", "FILE", "--csv", "--json"), "choose one"),
        (("energy", "--tariffs", "FILE", "--month", "2026-11", "--from", "2d"), "choose one"),
        (("check", "/no such file"), "No such file"),
    ],
)
def test_what_cannot_be_is_refused(
    file: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    run(*(file if argument == "FILE" else argument for argument in arguments), code=2)
    assert why in capfd.readouterr().err
