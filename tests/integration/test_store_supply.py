"""Quality of supply in the store: late readings and their order do not matter; outages at the surfaces."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update
from sqlmodel import col

from admin.main import main
from bridge.ingest.rows import Row
from bridge.store.supply_table import Supply
from bridge.store.tables import DAY_MS, HOUR_MS, Alarm, Meter, SclRevision, SupplyQuality
from broker.calendar import Calendar
from tests.support.inside import Inside, inside
from tests.support.stores import DAY0, NOW, Kept, keeping, meter_id, row
from web.serving.answers import CSV, PARQUET

pytest_plugins = ("tests.support.databases",)

WEEK = Calendar.named("UTC").week("2026-W48")
"""From DAY0 on."""
NEAR = 60
TOPOLOGY = """
[[substation]]
name = "Mill"
[[substation.transformer]]
name = "T1"
[[substation.transformer.feeder]]
name = "F1"
phase.A = ["House 1", "House 2", "House 3"]
[[substation.transformer.feeder]]
name = "F2"
phase.A = ["House 4"]
"""


@pytest.fixture
def kept(database_url: str) -> Iterator[Kept]:
    with keeping(database_url) as kept:
        yield kept


def read(number: int, seq: int, second: int, *, epoch: int = 1, **values: Any) -> Row:
    return row(number, seq, ts=DAY0 + second * 1000, epoch=epoch, **values)


def report(kept: Kept, number: int = 1) -> dict[str, Any]:
    table = Supply(kept.store.engine).weeks([kept.meter(number)], [WEEK])
    (found,) = table.rows
    return dict(zip(table.fields, found, strict=True))


def plain(readings: Sequence[tuple[int, float, float]]) -> dict[str, Any]:
    """The same of (second, voltage, frequency), from all readings at once, without hours."""
    steps: dict[int, list[float]] = {}
    tens: dict[int, list[float]] = {}
    sags: list[list[tuple[int, float]]] = []
    before: tuple[int, float] | None = None
    for second, voltage, frequency in sorted(readings):
        steps.setdefault(second // 600, []).append(voltage)
        tens.setdefault(second // 10, []).append(frequency)
        if voltage < 207.0:
            goes_on = before is not None and before[1] < 207.0 and second - before[0] <= NEAR
            sags[-1:] = [[*sags[-1], (second, voltage)]] if goes_on else [*sags[-1:], [(second, voltage)]]
        before = (second, voltage)
    means = [round(10 * sum(several) / len(several)) / 10 for several in steps.values()]
    hertz = [sum(several) / len(several) for several in tens.values()]
    return {
        "within_10": round(100 * sum(207.0 <= mean <= 253.0 for mean in means) / len(means), 2),
        "voltage_lowest": min(means),
        "voltage_highest": max(means),
        "coverage": round(100 * len(means) / 1008, 2),
        "frequency_within_1": round(100 * sum(49.5 <= one <= 50.5 for one in hertz) / len(hertz), 2),
        "sags": len(sags),
        "sag_longest": max((sag[-1][0] - sag[0][0] for sag in sags), default=None),
        "readings": len(readings),
    }


@st.composite
def weeks(draw: st.DrawFn) -> tuple[list[tuple[int, float, float]], list[list[int]]]:
    """Readings at whole seconds of some hours, and the batches in which they come."""
    values = st.tuples(
        st.sampled_from((230.0, 206.9, 207.0, 150.0, 253.0, 253.1)), st.sampled_from((50.0, 50.6))
    )
    near = st.builds(lambda hour, place: hour * 3600 + place, st.integers(0, 3), st.integers(-70, 70))
    seconds = draw(st.sets(near.filter(lambda at: at >= 0), min_size=1, max_size=40))
    readings = [(second, *draw(values)) for second in sorted(seconds)]
    order = draw(st.permutations(range(len(readings))))
    cut = draw(st.integers(0, len(order)))
    return readings, [order[:cut], order[cut:]]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kept, Iterator[int]]]:
    """A store for all examples, and numbers of meters that it does not have yet."""
    with keeping(f"sqlite:///{tmp_path_factory.mktemp('supply')}/one.sqlite") as kept:
        yield kept, count(1)


@given(told=weeks())
@settings(max_examples=30, deadline=None)
def test_late_readings_and_their_order_do_not_matter(
    told: tuple[list[tuple[int, float, float]], list[list[int]]], one: tuple[Kept, Iterator[int]]
) -> None:
    readings, batches = told
    kept, number = one[0], next(one[1])
    for batch in batches:
        some = ((place, *readings[place]) for place in batch)
        kept.put(
            *(read(number, place + 1, at, voltage=volt, frequency=hertz) for place, at, volt, hertz in some)
        )
        kept.upkeep()
    found = report(kept, number)
    assert {name: found[name] for name in plain(readings)} == plain(readings)


def test_retention_leaves_what_was_made(kept: Kept) -> None:
    kept.put(*(read(1, n + 1, n * 600, voltage=200.0) for n in range(12)))
    kept.upkeep()
    before = report(kept)
    assert (before["within_10"], before["readings"]) == (0.0, 12)
    kept.upkeep(keep=timedelta(days=1))
    assert kept.readings() == []
    kept.put(read(1, 99, 300, voltage=230.0))  # one that comes after all others are gone
    kept.upkeep()
    assert report(kept) == before
    assert kept.count(SupplyQuality) == 1


# --- outages ---------------------------------------------------------------------------------------


def house(number: int, *spans: tuple[int, int], first: int = 1, skip: bool = False) -> list[Row]:
    """Readings each minute from minute to minute; with ``skip`` numbers go on while it is silent."""
    minutes = [minute for begin, end in spans for minute in range(begin, end)]
    return [
        read(number, first + (minute if skip else place), minute * 60, voltage=230.0)
        for place, minute in enumerate(minutes)
    ]


def fill(kept: Kept) -> None:
    """Houses 1 and 2 lose power from minute 60 to 90, house 3 its connection, house 4 is alone."""
    kept.put(*house(1, (0, 60), (90, 200)), *house(2, (0, 60), (95, 200)))
    kept.put(*house(3, (0, 60), (90, 200), skip=True), *house(4, (0, 60), (90, 200)))
    with kept.engine.begin() as connection:
        for number in range(1, 5):
            mine = update(Meter).where(col(Meter.meter_id) == meter_id(number))
            values = {"name": f"House {number}", "interval": 60.0, "first_seen": DAY0, "ied": "SMGW001"}
            connection.execute(mine.values(**values, number=number, read_at=DAY0 + 200 * 60_000))
        revision = {"revision": 1, "sha256": "0" * 64, "meters": 4, "ieds": 1, "ts": DAY0, "what": "first"}
        connection.execute(insert(SclRevision).values(**revision, topology=TOPOLOGY))
        alarm = {"meter": 1, "kind": "offline", "subject": "", "detail": "", "count": 1}
        connection.execute(insert(Alarm).values(**alarm, since=DAY0 + 62 * 60_000, last_seen=DAY0))
    kept.upkeep(now=DAY0 + 6 * HOUR_MS)


def asked(kept: Kept) -> Any:
    return Supply(kept.store.engine).reliability(start=DAY0, end=DAY0 + DAY_MS, now=DAY0 + 5 * HOUR_MS)


def test_an_outage_of_a_feeder_against_the_loss_of_communications(kept: Kept) -> None:
    fill(kept)
    found = asked(kept)
    outage, alone = (one for one in found.outages if one.end != None)  # noqa: E711
    assert (outage.feeder, outage.sure, outage.meters) == ("Mill/LV/T1_F1", "high", (1, 2))
    assert (outage.begin, outage.end) == (DAY0 + 59 * 60_000, DAY0 + 95 * 60_000)
    assert "the connection of 1 was lost then" in outage.reason
    assert "1 others were silent and took readings" in outage.reason
    assert (alone.feeder, alone.sure) == ("Mill/LV/T1_F2", "doubtful")
    assert [one.row() for one in found.indices] == [
        ("Mill/LV/T1_F1", 3, 1, 0, round((31 + 36) / 3, 3), 0.6667, 33.5, 0),
        ("Mill/LV/T1_F2", 1, 0, 0, 0.0, 0.0, None, 1),
        ("total", 4, 1, 0, 16.75, 0.5, 33.5, 1),
    ]


def test_later_history_proves_that_the_house_had_power(kept: Kept) -> None:
    """House 3's outbox had the readings; those of houses 1 and 2 were never taken."""
    fill(kept)
    kept.put(*(read(3, minute + 1, minute * 60, voltage=230.0) for minute in range(60, 90)))
    kept.upkeep()
    (outage, _) = asked(kept).outages
    assert "took readings" not in outage.reason.replace("none of these took readings", "")
    more = [
        read(number, 1000 + minute, minute * 60, voltage=230.0)
        for number in (1, 2)
        for minute in range(60, 95)
    ]
    kept.put(*more)
    kept.upkeep()
    assert [one.sure for one in asked(kept).outages] == ["doubtful"], "only house 4 is left"


def test_who_is_not_back_counts_nowhere(kept: Kept) -> None:
    fill(kept)
    found = Supply(kept.store.engine).reliability(start=DAY0, end=DAY0 + DAY_MS, now=NOW)
    last = found.outages[-2:]
    assert [(one.end, one.sure) for one in last] == [(None, "doubtful")] * 2
    assert found.indices[-1].outages == 1


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Inside]:
    with inside(tmp_path) as web:
        fill(web.kept)
        yield web


def run(web: Inside, capfd: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--time-zone", "UTC", "--database", web.kept.url])
    assert (end.value.code or 0) == code
    out = capfd.readouterr()
    return out.err if code else out.out


def test_on_the_command_line(web: Inside, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("quality", "--week", "2026-W48")
    first, *_ = csv.DictReader(io.StringIO(run(web, capfd, *words, "House 1", "House 4", "--csv")))
    assert (first["period"], first["name"], first["within_10"]) == ("2026-W48", "House 1", "100.0")
    assert len(json.loads(run(web, capfd, *words, "--json"))) == 4
    run(web, capfd, *words, "--parquet", f"{tmp_path}/week.parquet")
    (judgement, *_) = pq.read_table(tmp_path / "week.parquet")["voltage_judgement"].to_pylist()
    assert judgement == "not known", "most of the week is not covered"
    assert "House 3" in run(web, capfd, *words)
    assert "is no week" in run(web, capfd, "quality", "--week", "2026-48", code=2)
    month = ("--month", "2026-11")
    outage, *_ = json.loads(run(web, capfd, "outages", *month, "--json"))
    assert (outage["feeder"], outage["meters"], outage["sure"]) == (
        "Mill/LV/T1_F1",
        ["House 1", "House 2"],
        "high",
    )
    total = list(csv.DictReader(io.StringIO(run(web, capfd, "reliability", *month, "--csv"))))[-1]
    assert (total["feeder"], total["saidi"], total["caidi"]) == ("total", "16.75", "33.5")
    assert "doubtful" in run(web, capfd, "outages", *month)
    row, *_ = csv.DictReader(io.StringIO(run(web, capfd, "outages", *month, "--csv")))
    assert (row["meter_names"], row["minutes"]) == ("House 1; House 2", "36.0")
    assert "total" in run(web, capfd, "reliability", *month, "--momentary", "40")
    assert "choose one" in run(web, capfd, "reliability", *month, "--csv", "--json", code=2)


async def test_over_http(web: Inside) -> None:
    path = f"/api/v1/meters/{meter_id(1)}/quality"
    answer = (await web.client.get(path, params={"week": "2026-W48", "time_zone": "UTC"})).json()
    assert (answer["indicative"], answer["week"], answer["quality"]["within_10"]) == (True, "2026-W48", 100.0)
    assert answer["start"] == "2026-11-23T00:00:00.000Z"
    for wrong in ("2026-W99", "0001-W01", "9999-W52"):
        assert (await web.client.get(path, params={"week": wrong})).status_code == 422
    assert (await web.client.get(path)).status_code == 200
    assert (await web.client.get(f"/api/v1/meters/{meter_id(9)}/quality")).status_code == 404
    month = {"month": "2026-11", "time_zone": "UTC"}
    answer = (await web.client.get("/api/v1/reliability", params=month)).json()
    assert answer["feeders"][-1]["saidi"] == 16.75
    assert [one["sure"] for one in answer["outages"]][:2] == ["high", "doubtful"]
    assert answer["outages"][0]["meters"] == [meter_id(1), meter_id(2)]
    table = await web.client.get("/api/v1/reliability", params=month, headers={"Accept": CSV})
    assert [one["feeder"] for one in csv.DictReader(io.StringIO(table.text))][-1] == "total"
    answer = await web.client.get("/api/v1/reliability", params=month, headers={"Accept": PARQUET})
    assert pq.read_table(io.BytesIO(answer.content))["customers"].to_pylist() == [3, 1, 4]
    long = {"start": "2025-01-01", "end": "2026-11-01"}
    assert (await web.client.get("/api/v1/reliability", params=long)).status_code == 422


async def test_what_would_fill_the_memory_is_refused(web: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.api.supply.MOST_SILENCES", 1)
    answer = await web.client.get("/api/v1/reliability", params={"month": "2026-11", "time_zone": "UTC"})
    assert answer.status_code == 413
    assert "more than 1 silences" in answer.json()["detail"]
