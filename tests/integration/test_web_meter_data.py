"""Registers and tariffs over HTTP: what is there, what is not, and a day of 25 hours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pyarrow.parquet
import pytest
from sqlalchemy import insert

from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS, LoadProfile, at_ms
from bridge.store.tariffs import EXAMPLE
from tests.support.stores import Kept, keeping, meter_id, row
from web.app import make_app
from web.auth.accounts import Accounts, Role
from web.run import make_parts
from web.settings import WebSettings

METER = meter_id(1)
BEGIN = datetime.fromisoformat("2026-10-24T00:00+02:00")
"""The day after it has 25 hours."""
QUARTER_MS = 900_000
DAYS = {"by": "day", "start": "2026-10-24", "end": "2026-10-26"}
Get = Callable[..., httpx.Response]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A meter with registers at three midnights of Zurich, and its intervals."""
    with keeping(f"sqlite:///{tmp_path}/store.sqlite") as kept:
        first, long, last = at_ms(BEGIN), at_ms(BEGIN) + DAY_MS, at_ms(BEGIN) + 2 * DAY_MS + 3_600_000
        kept.put(*(row(1, seq, ts=ts, energy=1000.0 * seq) for seq, ts in enumerate((first, long, last), 1)))
        with kept.engine.begin() as connection:
            for start in range(first - first % DAY_MS, last, DAY_MS):
                connection.execute(insert(LoadProfile), [_day(kept, start, start + DAY_MS)])
        yield kept


def _day(kept: Kept, start: int, end: int) -> dict[str, Any]:
    """Intervals of 10 Wh; one of 70 Wh, which is interpolated, in the hour that the clock shows twice."""
    most, day = at_ms(datetime.fromisoformat("2026-10-25T02:30+01:00")), Day(start, 15)
    for place, at in enumerate(range(start, end, QUARTER_MS)):
        is_most = at == most
        day.put(place, {"energy_import": 70_000 if is_most else 10_000, "energy_import_mark": int(is_most)})
    return {"meter": kept.meter().key, "start": start, "minutes": 15, "data": day.encoded()}


def _getter(folder: Path, monkeypatch: pytest.MonkeyPatch, tariffs: str = "") -> Get:
    """Asks the application as an observer; ``tariffs`` is the text of the file, empty for none."""
    monkeypatch.setenv("METER61850_TIME_ZONE", "Europe/Zurich")
    if tariffs:
        (folder / "tariffs.toml").write_text(tariffs)
        monkeypatch.setenv("METER61850_TARIFFS", str(folder / "tariffs.toml"))
    settings = WebSettings(users=folder / "users.json", database_url=f"sqlite:///{folder}/store.sqlite")
    token = Accounts(settings.users).add_token("program", Role.OBSERVER)
    application = make_app(make_parts(settings))

    async def answer(path: str, accept: str, query: dict[str, str]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Accept": accept}
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, params=query or None, headers=headers)

    return lambda path, accept="application/json", **query: anyio.run(answer, path, accept, query)


def test_days_with_registers_demand_and_tariffs(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = _getter(tmp_path, monkeypatch, EXAMPLE.read_text())
    told = get(f"/api/v1/meters/{METER}/periods", **DAYS).json()
    assert told["complaint"] is None
    day, long = told["periods"]
    assert (day["register_start"], day["register_end"], day["energy_used"]) == (1000.0, 2000.0, 1000.0)
    assert (day["period"], day["measured"], day["demand_max"]) == ("2026-10-24", 96, 40.0)
    assert (long["measured"], long["interpolated"], long["missing"]) == (99, 1, 0)
    assert (long["demand_max"], long["demand_mark"]) == (280.0, "interpolated")
    assert long["demand_at"] == "2026-10-25T01:30:00.000Z"
    assert long["energy_t2"] + long["energy_t3"] == 99 * 10 + 70
    assert long["energy_t1"] is None


def test_the_same_as_a_file(tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    get = _getter(tmp_path, monkeypatch)
    csv = get(f"/api/v1/meters/{METER}/periods", "text/csv", **DAYS)
    head, *rows = csv.text.splitlines()
    assert [one.split(",")[0] for one in rows] == ["2026-10-24", "2026-10-25"]
    assert "energy_t1" not in head, "there is no file of tariffs"
    parquet = get(f"/api/v1/meters/{METER}/periods", "application/vnd.apache.parquet", **DAYS)
    (tmp_path / "it.parquet").write_bytes(parquet.content)
    assert pyarrow.parquet.read_table(tmp_path / "it.parquet")["demand_max"].to_pylist() == [40.0, 280.0]


def test_tariffs_of_a_long_day(tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    get = _getter(tmp_path, monkeypatch, EXAMPLE.read_text())
    told = get("/api/v1/tariffs", start="2026-10-25", end="2026-10-27").json()
    assert told["time_zone"] == "Europe/Zurich"
    assert [one["name"] for one in told["tariffs"]] == ["High", "Low", "Weekend"]
    changes = [(one["at"][:16], one["tariff"]) for one in told["changes"]]
    assert changes == [
        ("2026-10-24T22:00", "T3"),
        ("2026-10-25T05:00", "T2"),
        ("2026-10-25T21:00", "T3"),
        ("2026-10-26T05:00", "T2"),
        ("2026-10-26T06:00", "T1"),
        ("2026-10-26T19:00", "T2"),
    ]


def test_before_the_first_version_there_is_no_tariff(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = _getter(tmp_path, monkeypatch, EXAMPLE.read_text())
    assert get("/api/v1/tariffs", start="2025-12-30", end="2025-12-31").json()["changes"] == []
    (first,) = get("/api/v1/tariffs", start="2025-12-30", end="2026-01-01T00:30").json()["changes"]
    assert first["at"] == "2025-12-31T23:00:00.000Z"
    months = get(f"/api/v1/meters/{METER}/periods", start="2025-11-01", end="2026-02-01").json()["periods"]
    assert months == [], "the meter was not heard yet"


def test_without_a_file_there_are_none(tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    get = _getter(tmp_path, monkeypatch)
    assert get("/api/v1/tariffs").status_code == 404
    assert _shown(get)["tariffs"] == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("default = 3\n", "tariffs.toml"),
        (EXAMPLE.read_text().replace('"22:00-06:00"', '"22:05-06:00"'), "22:05"),
    ],
    ids=["bad file", "a tariff changes inside of an interval"],
)
def test_what_is_wrong_with_the_tariffs_is_said_and_the_rest_stays(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch, text: str, complaint: str
) -> None:
    told = _getter(tmp_path, monkeypatch, text)(f"/api/v1/meters/{METER}/periods", **DAYS).json()
    assert complaint in told["complaint"]
    rest = [(one["energy_used"], one["demand_max"]) for one in told["periods"]]
    assert rest == [(1000.0, 40.0), (1000.0, 280.0)]


def test_a_bad_file_is_said_on_the_page(tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    get = _getter(tmp_path, monkeypatch, "default = 3\n")
    assert get("/api/v1/tariffs").status_code == 503
    page = get(f"/meters/{METER}/profile", "text/html")
    assert page.status_code == 200
    assert "No tariffs are shown: " in page.text


def test_a_file_that_is_changed_is_read_again(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = _getter(tmp_path, monkeypatch, EXAMPLE.read_text())
    assert [one["name"] for one in _shown(get)["tariffs"]] == ["High", "Low", "Weekend"]
    (tmp_path / "tariffs.toml").write_text(EXAMPLE.read_text().replace('"High"', '"Peak"'))
    assert [one["name"] for one in _shown(get)["tariffs"]] == ["Peak", "Low", "Weekend"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/v1/tariffs?start=2024-01-01&end=2026-01-01", 422),
        (f"/api/v1/meters/{METER}/periods?by=day&start=2024-01-01&end=2026-01-01", 422),
        (f"/api/v1/meters/{meter_id(9)}/periods", 404),
        (f"/meters/{meter_id(9)}/profile", 404),
    ],
)
def test_what_is_refused(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch, path: str, status: int
) -> None:
    get = _getter(tmp_path, monkeypatch, EXAMPLE.read_text())
    assert get(path).status_code == status


def _shown(get: Get) -> dict[str, Any]:
    """What the page gives its script."""
    page = get(f"/meters/{METER}/profile", "text/html").text
    return {name: json.loads(text) for name, text in re.findall(r"data-(drawn|tariffs)='([^']*)'", page)}
