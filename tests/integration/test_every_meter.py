"""Files with all meters: `readings --all`, `energy`, and the same over HTTP."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from admin.main import main
from bridge.store.tables import HOUR_MS, Meter, at_ms
from broker.calendar import Calendar
from tests.support.inside import Inside, inside
from tests.support.stores import meter_id, row
from web.api import every_meter
from web.serving.answers import CSV, PARQUET

ZURICH = Calendar.named("Europe/Zurich")
NOVEMBER = at_ms(ZURICH.time("2026-10-31"))
"""A day before the month, so that there are readings of two months."""
FORMULA = '=HYPERLINK("http://evil.example")'


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Two meters with other quantities, a reading an hour over three days; one has a nasty name."""
    with inside(tmp_path_factory.mktemp("all")) as web:
        rows = [row(1, n + 1, ts=NOVEMBER + n * HOUR_MS, power=float(n), energy=100.0 + n) for n in range(73)]
        rows += [
            row(2, n + 1, ts=NOVEMBER + n * HOUR_MS + 1, power_l1=-float(n), energy_import=7.0 + 2 * n)
            for n in range(73)
        ]
        web.kept.put(*rows, now=NOVEMBER + 73 * HOUR_MS)
        web.kept.upkeep(now=NOVEMBER + 99 * HOUR_MS)
        with web.kept.engine.begin() as connection:
            table = Meter.__table__  # type: ignore[attr-defined]
            connection.execute(table.update().where(table.c.key == 2).values(name=FORMULA))
            connection.execute(
                table.update().where(table.c.key == 1).values(name="House 1", address_code="8000")
            )
        yield web


def run(web: Inside, *arguments: str) -> None:
    """A command on this store, which succeeds."""
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--database", web.kept.url, "--time-zone", "Europe/Zurich"])
    assert not end.value.code


def refused(web: Inside, capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message of a command that ends with 2."""
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--database", web.kept.url])
    assert end.value.code == 2
    return capfd.readouterr().err


def rows_of(text: str) -> list[dict[str, str]]:
    """Of CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def test_a_month_of_all_meters(web: Inside, capfd: pytest.CaptureFixture[str]) -> None:
    run(web, "readings", "--all", "--month", "2026-11", "--csv")
    rows = rows_of(capfd.readouterr().out)
    assert [one["meter_id"] for one in rows] == [meter_id(1)] * 49 + [meter_id(2)] * 49
    assert list(rows[0])[:6] == ["meter_id", "name", "address_code", "ts", "epoch", "seq"]
    assert rows[0]["ts"] == "2026-10-31T23:00:00.000Z", "midnight in Zurich"
    assert (rows[0]["power"], rows[0]["power_l1"], rows[0]["energy"]) == ("24.0", "", "124.0")
    assert (rows[-1]["power"], rows[-1]["power_l1"], rows[-1]["energy_import"]) == ("", "-72.0", "151.0")
    assert (rows[0]["name"], rows[0]["address_code"]) == ("House 1", "8000")
    assert rows[-1]["name"] == f"'{FORMULA}", "no spreadsheet computes what a meter calls itself"


def test_from_and_until_of_one_meter(web: Inside, capfd: pytest.CaptureFixture[str]) -> None:
    range_ = ("--from", "2026-11-01", "--until", "2026-11-01T03:00")
    run(web, "readings", "House 1", *range_, "--csv")
    assert [one["power"] for one in rows_of(capfd.readouterr().out)] == ["24.0", "25.0", "26.0"]
    run(web, "readings", "House 1", *range_, "--last", "2", "--json")
    assert [one["power"] for one in json.loads(capfd.readouterr().out)] == [25.0, 26.0]
    run(
        web,
        "readings",
        "House 1",
        "--since",
        "2026-10-31T23:00Z",
        "--until",
        "2026-11-01T01:00+01:00",
        "--csv",
    )
    assert [one["power"] for one in rows_of(capfd.readouterr().out)] == ["24.0"]
    run(web, "readings", "House 1", "--month", "2026-11", "--resolution", "hour", "--json")
    assert len(json.loads(capfd.readouterr().out)) == 49
    run(web, "readings", "House 1", "--until", "2026-11-03", "--json")
    assert [one["power"] for one in json.loads(capfd.readouterr().out)] == [float(n) for n in range(52, 72)]


def test_a_folder_of_parquet_by_month_and_meter(
    web: Inside, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "readings"
    for _ in range(2):  # what is there is replaced
        run(web, "readings", "--all", "--from", "2026-10-01", "--parquet", str(folder), "--partitioned")
        assert "146 rows (raw)" in capfd.readouterr().err
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.parquet"))
    assert files == [
        f"month={month}/meter_id={meter_id(number)}/readings.parquet"
        for month in ("2026-10", "2026-11")
        for number in (1, 2)
    ]
    found = ds.dataset(folder, format="parquet", partitioning="hive")
    november = found.to_table(filter=ds.field("month") == "2026-11")
    assert november.num_rows == 98
    assert {*november["meter_id"].to_pylist()} == {meter_id(1), meter_id(2)}
    assert found.count_rows() == 146
    assert "name" in found.schema.names


def test_roll_ups_of_all_meters_in_one_parquet_file(web: Inside, tmp_path: Path) -> None:
    file = tmp_path / "hours.parquet"
    run(web, "readings", "--all", "--month", "2026-11", "--resolution", "hour", "--parquet", str(file))
    table = pq.read_table(file)
    assert table.num_rows == 98
    assert table["power_l1_mean"].to_pylist()[:49] == [None] * 49
    assert table["energy_import_max"].to_pylist()[-1] == 151.0


def test_energy_of_days(web: Inside, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "energy.parquet"
    asked = ("energy", "--from", "2026-10-31", "--until", "2026-11-04")
    run(web, *asked, "--csv")
    rows = rows_of(capfd.readouterr().out)
    told = [(one["period"], one["energy_used"], one["marks"]) for one in rows]
    days = ["2026-10-31", "2026-11-01", "2026-11-02", "2026-11-03"]
    assert told[:4] == list(zip(days, ["24.0"] * 3 + [""], [""] * 3 + ["no-end"], strict=True))
    assert told[4:5] == [("2026-10-31", "48.0", "")], "its first reading is just after midnight"
    run(web, *asked, "--parquet", str(file))
    assert pq.read_table(file)["energy_used"].to_pylist()[:4] == [24.0, 24.0, 24.0, None]
    run(web, "energy", "House 1", "--month", "2026-11", "--json")
    assert json.loads(capfd.readouterr().out)[0]["register_start"] == 124.0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("readings", "--all"), "--csv or --parquet"),
        (("readings", "--all", "--last", "3", "--csv"), "no --last"),
        (("readings",), "which meter"),
        (("readings", "House 1", "--all"), "which meter"),
        (("readings", "House 1", "--partitioned"), "name the folder"),
        (("readings", "House 1", "--month", "2026-11", "--until", "2026-12-01"), "choose one"),
        (("readings", "House 1", "--time-zone", "Mars/Olympus"), "Mars/Olympus"),
        (("energy", "--csv", "--json"), "choose one"),
    ],
)
def test_what_cannot_be_is_refused(
    web: Inside, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    assert why in refused(web, capfd, *arguments)


async def test_over_http(web: Inside) -> None:
    asked = {"month": "2026-11", "time_zone": "Europe/Zurich"}
    answer = await web.client.get(
        "/api/v1/readings", params={**asked, "resolution": "raw"}, headers={"Accept": CSV}
    )
    assert answer.status_code == 200
    assert len(rows_of(answer.text)) == 98
    answer = await web.client.get("/api/v1/readings", params=asked, headers={"Accept": PARQUET})
    assert pq.read_table(io.BytesIO(answer.content)).num_rows == 98, "hours"
    answer = await web.client.get("/api/v1/energy", params=asked)
    assert [one["energy_used"] for one in rows_of(answer.text)[:2]] == ["24.0", "24.0"]
    one = f"/api/v1/meters/{meter_id(1)}/readings"
    local = {"start": "2026-11-01", "end": "2026-11-01T03:00", "time_zone": "Europe/Zurich"}
    found = (await web.client.get(one, params=local)).json()
    assert [reading["power"] for reading in found["readings"]] == [24.0, 25.0, 26.0]
    assert found["start"] == "2026-10-31T23:00:00.000Z"
    assert (await web.client.get(one, params=asked)).json()["resolution"] == "hour"


@pytest.mark.parametrize(
    ("params", "status", "why"),
    [
        ({"month": "2026-11", "start": "2026-11-01"}, 422, "choose one"),
        ({"month": "2026-13"}, 422, "2026-13"),
        ({"month": "9999-12"}, 422, "month"),
        ({"start": "yesterday"}, 422, "start"),
        ({"start": "1999-01-01"}, 422, "2020"),
        ({"time_zone": "Mars/Olympus"}, 422, "Mars/Olympus"),
    ],
)
async def test_what_is_no_range_is_422(web: Inside, params: dict[str, str], status: int, why: str) -> None:
    answer = await web.client.get("/api/v1/readings", params=params)
    assert (answer.status_code, why in answer.text) == (status, True), answer.text


async def test_a_file_has_a_limit(web: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {"month": "2026-11", "resolution": "raw", "time_zone": "Europe/Zurich"}
    monkeypatch.setattr(every_meter, "MOST_ROWS", 97)
    answer = await web.client.get("/api/v1/readings", params=asked)
    assert (answer.status_code, "97 rows" in answer.text) == (413, True)
    monkeypatch.setattr(every_meter, "MOST_REGISTERS", 5)
    answer = await web.client.get("/api/v1/energy", params=asked)
    assert (answer.status_code, "by=month" in answer.text) == (413, True)
    monkeypatch.undo()
    assert (await web.client.get("/api/v1/readings", params=asked)).status_code == 200, (
        "its place is free again"
    )
