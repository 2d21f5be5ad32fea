"""Load profiles as NEM12 and Green Button, read back by nemreader and greenbutton-objects."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from greenbutton_objects import parse
from greenbutton_objects.enums import AccumulationBehaviourType, FlowDirectionType, UomType
from nemreader import read_nem_file
from sqlalchemy import insert, select, update

from admin.main import main
from bridge.store.nem12 import write_nem12
from bridge.store.profile_texts import TEXTS
from bridge.store.tables import DAY_MS, LoadProfile, Meter
from bridge.store.upkeep import Policy, upkeep
from broker.calendar import Calendar
from broker.contract.errors import ConfigurationError
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, NOW, Kept, keeping, meter_id, row
from web.serving.answers import ATOM, NEM12

MINUTE = 60_000
ZURICH = Calendar.named("Europe/Zurich")
START, END = datetime(2026, 11, 23, 23, tzinfo=UTC), datetime(2026, 11, 24, 23, tzinfo=UTC)
"""A day of Zurich, and of its standard time."""


def fill(kept: Kept, *, minutes: int = 15, name: str = "House & Sons") -> None:
    """Two days with a gap, a reset, and an end; thirds of a Wh, so that rounding matters."""
    readings = [
        row(
            1,
            1 + minute,
            ts=DAY0 + minute * MINUTE,
            energy_import=_counter(minute),
            energy_export=0.7 * minute,
        )
        for minute in range(0, 2730, 5)
        if not 1500 < minute < 1600
    ]
    kept.put(*readings)
    with kept.engine.begin() as connection:
        connection.execute(update(Meter).values(name=name, serial="PZEM-000017", interval=300.0))
    policy = Policy(interval_minutes=minutes)
    assert upkeep(kept.engine, policy, now=NOW, pause=lambda _seconds: False) is not None


def _counter(minute: int) -> float:
    return minute / 3 if minute < 2000 else (minute - 2000) / 3


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """The application over it."""
    with inside(tmp_path_factory.mktemp("exports")) as web:
        fill(web.kept)
        yield web


def text(kept: Kept, form: str, file: Path) -> Path:
    """Of the day of Zurich."""
    with file.open("w", newline="") as out:
        TEXTS[form](kept.store.profiles, [kept.meter()], out, start=START, end=END, calendar=ZURICH)
    return file


def intervals(kept: Kept) -> list[dict[str, Any]]:
    """The load profile of the same day."""
    start = DAY0 + 23 * 60 * MINUTE
    table = kept.store.profiles.table(kept.meter(), start=start, end=start + DAY_MS)
    return list(table.documents())


def test_nem12_is_read_by_others(web: Inside, tmp_path: Path) -> None:
    rows = intervals(web.kept)
    data = read_nem_file(str(text(web.kept, "nem12", tmp_path / "day.csv")))
    assert data.header.version_header == "NEM12"
    (channels,) = data.readings.values()
    assert list(channels) == ["E1", "B1"]
    assert list(data.readings) == [meter_id(1)[-10:].upper()]
    for suffix, name in (("E1", "energy_import"), ("B1", "energy_export")):
        read = channels[suffix]
        assert len(read) == 96
        assert (read[0].t_start, read[0].uom) == (datetime(2026, 11, 24), "kWh")
        assert read[0].meter_serial_number == "PZEM-000017"
        known = sum(one[name] or 0.0 for one in rows)
        assert abs(1000 * sum(one.read_value for one in read) - known) < 0.501
        assert all(abs(1000 * a.read_value - (b[name] or 0)) <= 1 for a, b in zip(read, rows, strict=False))
    flags = {"measured": "A", "interpolated": "F17", "estimated": "S18", "missing": "E18"}
    assert len(rows) == 92
    assert [one.quality_method for one in channels["E1"]] == [
        *(flags[one["energy_import_mark"]] if one["energy_import"] is not None else "N" for one in rows),
        *["N"] * 4,
    ]
    assert {one.quality_method for one in channels["E1"]} == {"A", "F17", "S18", "E18", "N"}
    reasons = {one.quality_method: one.event_desc for one in channels["E1"] if one.event_desc}
    assert reasons["S18"] == "Counter was reset or is in doubt"


async def test_nem12_has_no_hours(tmp_path: Path) -> None:
    with inside(tmp_path) as hourly:
        kept = hourly.kept
        fill(kept, minutes=60)
        path, day = f"/api/v1/meters/{meter_id(1)}/profile", {"start": "2026-11-24", "time_zone": "UTC"}
        answer = await hourly.client.get(path, params=day, headers={"Accept": NEM12})
        assert (answer.status_code, "5, 15 and 30 minutes" in answer.text) == (406, True)
        with pytest.raises(
            ConfigurationError, match="House & Sons: NEM12 has intervals of 5, 15 and 30 minutes"
        ):
            text(kept, "nem12", tmp_path / "day.csv")
        rows = intervals(kept)
        (point,) = parse.parse_feed(str(text(kept, "green_button", tmp_path / "day.xml")))
        kinds = {one.readingType.intervalLength for one in point.meterReadings}
        assert kinds == {0, 3600}
        assert len(rows) == 23


def test_a_day_of_the_zone_that_no_interval_begins_with_is_refused(tmp_path: Path) -> None:
    with keeping(f"sqlite:///{tmp_path}/nepal.sqlite") as kept:
        fill(kept, minutes=30)
        with pytest.raises(ConfigurationError, match="begins inside of an interval"):
            write_nem12(
                kept.store.profiles, [kept.meter()], io.StringIO(),
                first=START.date(), last=START.date(), offset=timedelta(hours=5, minutes=45),
            )  # fmt: skip


def test_days_of_nem12_are_of_standard_time() -> None:
    sydney = Calendar.named("Australia/Sydney")
    summer, winter = datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 7, 10, tzinfo=UTC)
    assert sydney.standard_offset(summer) == sydney.standard_offset(winter) == timedelta(hours=10)


def test_green_button_is_read_by_others(web: Inside, tmp_path: Path) -> None:
    rows = [one for one in intervals(web.kept) if one["energy_import"] is not None]
    (point,) = parse.parse_feed(str(text(web.kept, "green_button", tmp_path / "day.xml")))
    assert point.title == "House & Sons"
    assert {one.readingType.uom for one in point.meterReadings} == {UomType(72)}
    told = {one.title: one for one in point.meterReadings}
    assert set(told) == {
        f"energy_{way} {what}" for way in ("import", "export") for what in ("intervals", "register")
    }
    read = list(told["energy_import intervals"].intervalReadings)
    assert told["energy_import intervals"].readingType.flowDirection == FlowDirectionType(1)
    assert [round(one.value, 3) for one in read] == [one["energy_import"] for one in rows]
    assert [one.timePeriod.start.timestamp() for one in read] == [one["start"] / 1000 for one in rows]
    assert {one.timePeriod.duration for one in read} == {timedelta(minutes=15)}
    qualities = {"measured": 17, "interpolated": 9, "estimated": 10, "missing": 16}
    found = [next(iter(one.readingQualities)).quality.value for one in read]
    assert found == [qualities[one["energy_import_mark"]] for one in rows]
    register = told["energy_import register"]
    assert register.readingType.accumulationBehaviour == AccumulationBehaviourType(3)
    before, after = (one.value for one in register.intervalReadings)
    assert round(after - before, 3) == round(sum(one["energy_import"] for one in rows), 3)


async def test_over_http_and_on_the_command_line(web: Inside, capsys: pytest.CaptureFixture[str]) -> None:
    path = f"/api/v1/meters/{meter_id(1)}/profile"
    for kind, option, head, end in (
        (ATOM, "--green-button", "<?xml", "</feed>"),
        (NEM12, "--nem12", "100,NEM12", "900"),
    ):
        day = {"start": "2026-11-24", "end": "2026-11-25", "time_zone": "Europe/Zurich"}
        answer = await web.client.get(path, params=day, headers={"Accept": kind})
        assert answer.headers["content-type"].partition(";")[0] == kind
        asked = ["--from", "2026-11-24", "--until", "2026-11-25", "--time-zone", "Europe/Zurich"]
        main_ends(["profile", *asked, option, "--database", web.kept.url])
        printed = capsys.readouterr().out
        assert printed.startswith(head)
        assert printed.rstrip().endswith(end)
        assert len(printed.splitlines()) == len(answer.text.splitlines())


def main_ends(words: list[str]) -> None:
    """It ends well."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert not end.value.code


@pytest.mark.parametrize("form", list(TEXTS))
def test_memory_does_not_grow_with_meters(tmp_path: Path, form: str) -> None:
    with keeping(f"sqlite:///{tmp_path}/many.sqlite") as kept:
        fill(kept)
        with kept.engine.begin() as connection:
            days = [dict(found._mapping) for found in connection.execute(select(LoadProfile.__table__))]  # type: ignore[attr-defined]
            copies = [day | {"meter": number} for day in days for number in range(2, 22)]
            connection.execute(insert(LoadProfile), copies)
        one = kept.meter()
        peaks = []
        for count in (2, 20):
            meters = (one.model_copy(update={"key": number}) for number in range(2, 2 + count))
            with (tmp_path / "out").open("w") as out:
                tracemalloc.start()
                TEXTS[form](kept.store.profiles, meters, out, start=START, end=END, calendar=ZURICH)
                peaks.append(tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        assert peaks[1] < 2 * peaks[0]
