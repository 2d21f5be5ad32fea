"""Losses and suspicions from a store: on the command line, over HTTP, and after a correction."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlmodel import Session, col, select

from admin.main import main
from bridge.losses.aligned import ENERGY, NAMES
from bridge.losses.nodes import chosen, nodes_of
from bridge.losses.report import losses, read
from bridge.store.profile_format import Day
from bridge.store.tables import DAY_MS, LoadProfile, moment
from broker.calendar import Calendar, CalendarSettings
from tests.support import theft
from tests.support.stores import Kept, keeping
from tests.support.theft import PER_DAY, START, Feeder, month
from web.api.losses import router
from web.api.losses_models import Balance, Suspicions
from web.archive import Archive
from web.auth.accounts import Role
from web.auth.guard import _CHECKS
from web.serving import problem
from web.serving.budgets import Budgets

FEEDER = "Mill/LV/T1_F1"
MONTH = ("--since", "2026-10-23", "--until", "2026-11-22", "--time-zone", "UTC")
Get = Callable[..., httpx.Response]
UTC = Calendar.named("UTC")


@pytest.fixture(scope="module")
def feeder() -> Feeder:
    return month(0)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, feeder: Feeder) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("losses")
    with keeping(f"sqlite:///{folder / 'store.sqlite'}") as kept:
        theft.store(kept.engine, feeder)
        yield kept


def said(capsys: pytest.CaptureFixture[str], kept: Kept, *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--database", kept.url])
    told = capsys.readouterr()
    assert (ended.value.code or 0) == code, told.err
    return told.out if code == 0 else told.err


def lost(feeder: Feeder, kept: Kept, day: int) -> float:
    """The truth of a day, of the intervals in which all is known."""
    columns = [one["energy_import"] for one in (feeder.own, *feeder.houses)]
    places = [
        at for at in range(day * PER_DAY, (day + 1) * PER_DAY) if all(one[at] is not None for one in columns)
    ]
    return sum(feeder.stolen[at] + feeder.technical[at] for at in places) / 1000


def days_of(kept: Kept, count: int) -> list[dict[str, Any]]:
    periods = list(UTC.days(moment(START), moment(START + count * DAY_MS)))
    table = losses(kept.store, chosen(nodes_of(kept.store), FEEDER), periods)
    return list(table.documents())


def test_days_of_the_store_are_the_truth(kept: Kept, feeder: Feeder) -> None:
    for number, day in enumerate(days_of(kept, 5)):
        assert day["loss"] == pytest.approx(lost(feeder, kept, number), abs=1e-6)
        assert (day["houses"], day["intervals"], day["feeder"]) == (20, 96, FEEDER)


def test_losses_have_no_more_in_memory_than_they_need(kept: Kept) -> None:
    (node,) = chosen(nodes_of(kept.store), FEEDER)
    all_of_it, some = (
        read(kept.store, node, start=START, end=START + DAY_MS, names=names) for names in (NAMES, ENERGY)
    )
    assert {name for one in some.houses for name in one.columns} <= ENERGY
    assert "voltage_mean" in all_of_it.houses[0].columns
    assert some.flows == all_of_it.flows


def test_a_correction_is_in_the_balance_at_once(kept: Kept, feeder: Feeder) -> None:
    before, after = days_of(kept, 2)
    columns = [one["energy_import"] for one in (feeder.own, *feeder.houses)]
    place = next(at for at in range(PER_DAY) if all(one[at] is not None for one in columns))
    add(kept, place, 5_000)
    corrected, same = days_of(kept, 2)
    add(kept, place, -5_000)
    assert corrected["loss"] == pytest.approx(before["loss"] - 5, abs=1e-6)
    assert same == after


def add(kept: Kept, place: int, energy: int) -> None:
    """More energy in an interval of the first day of a house."""
    which = col(LoadProfile.meter) == 2, col(LoadProfile.start) == START
    with Session(kept.engine) as session:
        stored = session.exec(select(LoadProfile).where(*which)).one()
        day = Day(START, 15, stored.data)
        row = day.row(place)
        day.put(place, row | {"energy_import": row["energy_import"] + energy})
        stored.data = day.encoded()
        session.add(stored)
        session.commit()


def test_the_command_prints_csv_json_and_a_table(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    days = json.loads(said(capsys, kept, "losses", "--by", "day", "--feeder", FEEDER, *MONTH, "--json"))
    assert [day["period"] for day in days[:2]] == ["2026-10-23", "2026-10-24"]
    rows = list(
        csv.DictReader(io.StringIO(said(capsys, kept, "losses", "--by", "interval", *MONTH, "--csv")))
    )
    mine = [row for row in rows if row["feeder"] == FEEDER and row["complete"] == "true"]
    assert len(rows) == 2 * 30 * PER_DAY, "the transformer and its feeder"
    measured = sum(float(row["supplied"]) - float(row["used"]) for row in mine)
    assert measured == pytest.approx(sum(day["loss"] for day in days), abs=0.01)
    assert "loss percent" in said(capsys, kept, "losses", "--by", "day", *MONTH)
    assert "no feeder 'Mill'" in said(capsys, kept, "losses", "--feeder", "Mill", code=3)


def test_suspicions_name_the_odd_houses(
    kept: Kept, feeder: Feeder, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = json.loads(said(capsys, kept, "suspicions", *MONTH, "--json"))
    assert {(row["name"], row["rule"]) for row in rows} == {
        (f"House {n}", rule) for n, rule in feeder.odd.items()
    }
    assert {row["feeder"] for row in rows} == {FEEDER}
    (stolen,) = [row for row in rows if row["rule"] == "gap-rises"]
    assert stolen["since"] == moment(START + feeder.since * theft.SPAN).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert "It can also be: an empty house" in said(capsys, kept, "suspicions", *MONTH)
    assert "otherwise" in said(capsys, kept, "suspicions", *MONTH, "--csv").splitlines()[0]


@pytest.fixture(scope="module")
def client(kept: Kept) -> Iterator[Get]:
    """The two routes, without a server."""
    app = FastAPI()
    budgets = Budgets(streams=1, streams_per_account=1)
    settings = SimpleNamespace(calendar=CalendarSettings(time_zone="UTC"))
    app.state.parts = SimpleNamespace(archive=Archive(kept.url), budgets=budgets, settings=settings)
    app.dependency_overrides[_CHECKS[Role.OBSERVER]] = lambda: SimpleNamespace(name="anna")
    app.include_router(router, prefix="/api/v1")
    problem.install(app, page=lambda _request, told: told.response())

    def get(path: str, **params: str) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://web/api/v1") as client:
                return await client.get(path, params=params)

        return asyncio.run(asked())

    yield get
    app.state.parts.archive.close()


SPAN = {"start": "2026-10-23", "end": "2026-11-22"}


@pytest.mark.parametrize("path", [FEEDER, FEEDER.replace("/", "%2F")])
def test_the_same_over_http(client: Get, kept: Kept, path: str) -> None:
    told = client(f"/feeders/{path}/balance", **SPAN)
    assert told.status_code == 200
    found = Balance.model_validate(told.json())
    assert found.rows[0].loss == days_of(kept, 1)[0]["loss"]
    steps = client(f"/feeders/{path}/balance", **SPAN, by="interval").json()["rows"]
    assert (len(steps), Balance.model_validate({"feeder": "", "rows": steps[:3]}).rows[0].known) == (2880, 20)


def test_suspicions_over_http(client: Get, feeder: Feeder) -> None:
    found = Suspicions.model_validate(client("/suspicions", **SPAN).json())
    assert {one.name for one in found.suspicions} == {f"House {n}" for n in feeder.odd}
    nothing = client("/suspicions", **SPAN, feeder="Mill")
    assert (nothing.status_code, "the topology has" in nothing.json()["detail"]) == (404, True)
    assert client("/feeders/x/balance").status_code == 404
    long = {"start": "2020-01-01", "end": "2026-01-01"}
    assert client(f"/feeders/{FEEDER}/balance", **long).status_code == 422
