"""Figures for bills: registers at the end of a period, maximum demand, energy by tariff, and their topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import event, update
from sqlmodel import col

from bridge import billing
from bridge.billing import BillingPart
from bridge.mqtt.connection import Link
from bridge.settings import BridgeSettings
from bridge.store import billing as figures
from bridge.store.tables import DAY_MS, HOUR_MS, Meter, moment
from bridge.store.upkeep import Policy, upkeep
from broker.calendar import Calendar
from broker.contract.billing import Billing, TariffInForce
from broker.contract.messages import EARLIEST
from tests.support.stores import DAY0, Kept, keeping, meter_id, row

MINUTE = 60_000
END = DAY0 + DAY_MS
LOOK = END + HOUR_MS + 10 * MINUTE
"""A look after the hour behind the end of the day is summed up."""
TARIFFS = """
time_zone = "UTC"

[[version]]
from = 2026-01-01
default = "T1"
[[version.times]]
tariff = "T2"
hours = ["23:00-24:00"]
"""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with keeping(f"sqlite:///{tmp_path}/store.sqlite") as kept:
        yield kept


class Bills:
    """The bridge's part, and what it publishes."""

    def __init__(self, kept: Kept, tariffs: Path | None = None, **settings: Any) -> None:
        told = BridgeSettings(
            database_url=kept.url,
            billing={"calendar": {"time_zone": "UTC", "tariffs": tariffs}, "billing_period": "day"}
            | settings,
        )
        self.published: list[tuple[str, bytes]] = []
        self.out = SimpleNamespace(connection=1)
        self.leads = True
        link = SimpleNamespace(publish=lambda *told: self.published.append(told), out=self.out)
        self._part = BillingPart(kept.engine, told, cast(Link, link), leads=lambda: self.leads)

    def tariff(self) -> TariffInForce | None:
        """What is told of the tariff in force; ValueError if nothing is."""
        self.published.clear()
        self._part.tell_tariff()
        ((topic, payload),) = self.published
        assert topic == "sm/v1/service/bridge/tariff"
        return TariffInForce.model_validate_json(payload) if payload else None

    def topics(self, now: int = LOOK, *, pause: Callable[[float], bool] = lambda _: False) -> list[str]:
        """Where something is published in a look."""
        self.published.clear()
        self._part.look(now, pause)
        return [topic for topic, _ in self.published]

    def look(self, now: int = LOOK) -> list[Billing | None]:
        """What is published in a look."""
        self.topics(now)
        assert {topic for topic, _ in self.published} <= {f"sm/v1/{meter_id(1)}/billing"}
        return [Billing.model_validate_json(payload) if payload else None for _, payload in self.published]


def at(minute: float, seq: int, energy: float, **values: Any) -> tuple[Any, ...]:
    """A reading so many minutes after 22:00 of the first day."""
    return row(1, seq, ts=DAY0 + 22 * HOUR_MS + round(minute * MINUTE), energy=energy, **values)


def evening(*, without: range = range(0)) -> list[tuple[Any, ...]]:
    """A reading each minute from 22:00 to 01:10; the quarter from 23:15 has 100 Wh a minute, others 10."""
    found, energy = [], 1000.0
    for minute in range(191):
        if minute not in without:
            found.append(at(minute, minute + 1, energy))
        energy += 100.0 if 75 <= minute < 90 else 10.0
    return found


def test_a_day_is_frozen_when_its_last_hour_is_summed_up(kept: Kept) -> None:
    kept.put(*evening(), now=LOOK)
    bills = Bills(kept)
    assert bills.look() == [], "its hours are due"
    kept.upkeep(now=LOOK)
    (told,) = bills.look()
    assert told is not None
    frozen, running = told.frozen, told.running
    assert (frozen.period, frozen.registers) == ("2026-11-23", {"energy": 1000.0 + 120 * 10 + 15 * 90})
    assert frozen.version == 1
    assert frozen.read_at == frozen.end
    assert frozen.maximum is not None
    assert (frozen.maximum.power, frozen.maximum.minutes) == (6000.0, 15)
    assert frozen.maximum.start.isoformat() == "2026-11-23T23:15:00+00:00"
    assert (running.period, running.tariffs) == ("2026-11-24", {})
    assert told.demand is not None
    assert (told.demand.power, told.demand.mark) == (600.0, "measured")
    assert told.demand.end.isoformat() == "2026-11-24T01:00:00+00:00"
    assert bills.look() == [], "nothing is new"


def test_what_is_corrected_is_published_again_with_another_version(kept: Kept) -> None:
    kept.put(*evening(without=range(100, 125)), now=LOOK)
    kept.upkeep(now=LOOK)
    bills = Bills(kept)
    (before,) = bills.look()
    kept.put(*(one for one in evening() if 100 < one[2] <= 125), now=LOOK)
    kept.upkeep(now=LOOK)
    (after,) = bills.look()
    assert before is not None
    assert after is not None
    assert before.frozen.registers == {"energy": 3600.0}, "of the first reading after the end, at 00:05"
    assert after.frozen.registers == {"energy": 3550.0}
    assert before.frozen.version == 1 < after.frozen.version


def test_what_comes_late_is_frozen_at_the_next_hour(kept: Kept) -> None:
    """A meter that was away over midnight has no intervals there, and so none is corrected."""
    kept.put(*evening(without=range(50, 191)), now=LOOK)
    kept.upkeep(now=LOOK)
    bills = Bills(kept)
    (before,) = bills.look()
    assert before is not None
    assert before.frozen.registers == {}
    kept.put(*(one for one in evening() if one[2] > 50), now=LOOK)
    kept.upkeep(now=LOOK + HOUR_MS)
    (after,) = bills.look(LOOK + HOUR_MS)
    assert after is not None
    assert after.frozen.registers == {"energy": 3550.0}


def test_what_tells_two_states_of_a_profile_apart_looks_at_no_more_than_the_period(kept: Kept) -> None:
    """What one interval more makes of the octets of a day is no matter; nor are the years before."""
    kept.put(*evening(without=range(50, 191)), now=LOOK)
    kept.upkeep(now=LOOK)
    bills = figures.Bills(kept.engine, Calendar.named("UTC"), by="day")
    last, _ = bills.periods(moment(LOOK))
    assert bills.known(last) == {1: (1, 4)}, "the intervals of one hour"
    kept.put(*(one for one in evening() if one[2] > 50), now=LOOK)
    asked: list[tuple[str, Any]] = []
    kept.upkeep(now=LOOK)
    event.listen(kept.engine, "before_cursor_execute", lambda *told: asked.append((told[2], told[3])))
    assert bills.known(last) == {1: (1, 9)}, "those of the next hour, and a second version of one"
    ((statement, values),) = (one for one in asked if "profile_sum" in one[0])
    with kept.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    assert any("(meter=? AND start>? AND start<?)" in row.detail for row in plan)


def test_a_calendar_that_changes_inside_an_interval_costs_the_tariffs_alone(
    kept: Kept, tmp_path: Path
) -> None:
    file = tmp_path / "tariffs.toml"
    file.write_text(TARIFFS.replace("23:00", "23:05"))
    kept.put(*evening(), now=LOOK)
    kept.upkeep(now=LOOK)
    (told,) = Bills(kept, tariffs=file).look()
    assert told is not None
    assert (told.frozen.registers, told.frozen.tariffs) == ({"energy": 3550.0}, {})


def test_a_new_connection_and_a_new_leader_publish_everything(kept: Kept) -> None:
    kept.put(*evening(), now=LOOK)
    kept.upkeep(now=LOOK)
    bills = Bills(kept)
    (first,) = bills.look()
    bills.out.connection = 2
    assert bills.look() == [first]
    bills.leads = False
    assert bills.look() == []
    bills.leads = True
    assert bills.look() == [first]


def test_figures_that_nobody_can_say_cost_the_other_meters_nothing(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """A counter that went up by 1e12 Wh while its meter was away for a year."""
    kept.put(row(1, 1, ts=END - 380 * DAY_MS, energy=0.0, power=1e12), now=LOOK)
    kept.put(row(1, 2, ts=END, energy=1e12, power=1e12), now=LOOK)
    kept.put(row(2, 1, ts=END - HOUR_MS, energy=1.0), row(2, 2, ts=END, energy=2.0), now=LOOK)
    upkeep(kept.engine, Policy(interval_minutes=5), now=LOOK, pause=lambda _: False)  # 1.2e13 W
    bills = Bills(kept)
    assert bills.topics() == [f"sm/v1/{meter_id(2)}/billing"]
    assert bills.topics() == []
    assert caplog.text.count("no figures for bills of meter") == 1
    bills.topics(LOOK + HOUR_MS)
    assert caplog.text.count("no figures for bills of meter") == 2


def test_who_leads_no_longer_publishes_no_more(kept: Kept) -> None:
    kept.put(row(1, 1, ts=END, energy=1.0), row(2, 1, ts=END, energy=1.0), now=LOOK)
    kept.upkeep(now=LOOK)
    bills = Bills(kept)

    def lost(_seconds: float) -> bool:
        bills.leads = False
        return False

    assert len(bills.topics(pause=lost)) == 1
    bills.leads = True
    assert len(bills.topics()) == 2


def test_a_clock_that_was_never_set_does_not_end_the_thread_that_tells_the_tariff(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tariffs.toml"
    file.write_text(TARIFFS.replace("2026-01-01", "1999-01-01").replace("23:00-24:00", "22:00-23:00"))
    bills = Bills(kept, tariffs=file)
    monkeypatch.setattr(billing, "utc_now", lambda: datetime(2018, 1, 1, tzinfo=UTC))
    told = bills.tariff()
    assert told is not None
    assert told.since == EARLIEST
    monkeypatch.undo()
    told = bills.tariff()
    assert told is not None
    assert told.since > EARLIEST


def test_a_retired_meter_is_cleared(kept: Kept) -> None:
    kept.put(*evening(), now=LOOK)
    kept.upkeep(now=LOOK)
    bills = Bills(kept)
    assert len(bills.look()) == 1
    with kept.engine.begin() as connection:
        connection.execute(update(Meter).values(retired_at=LOOK).where(col(Meter.meter_id) == meter_id(1)))
    assert bills.look() == [None]
    assert bills.look() == []


def test_energy_is_told_by_tariff(kept: Kept, tmp_path: Path) -> None:
    file = tmp_path / "tariffs.toml"
    file.write_text(TARIFFS)
    kept.put(*evening(), now=LOOK)
    kept.upkeep(now=LOOK)
    (told,) = Bills(kept, tariffs=file).look()
    assert told is not None
    assert {name: one.energy_import for name, one in told.frozen.tariffs.items()} == {
        "T1": 600.0,
        "T2": 1950.0,
    }
    assert {name: one.energy_import for name, one in told.running.tariffs.items()} == {"T1": 600.0}


@pytest.mark.parametrize(("hour", "known"), [(12, ("T1", 0, 23, "T2")), (23, ("T2", 23, 24, "T1"))])
def test_the_tariff_in_force_is_told_once_for_each_connection(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hour: int, known: tuple[Any, ...]
) -> None:
    file = tmp_path / "tariffs.toml"
    file.write_text(TARIFFS)
    bills = Bills(kept, tariffs=file)
    monkeypatch.setattr(billing, "utc_now", lambda: moment(DAY0 + hour * HOUR_MS))
    tariff, since, until, after = known
    begin, end = (moment(DAY0 + at * HOUR_MS) for at in (since, until))
    told = bills.tariff()
    assert told == TariffInForce(tariff=tariff, since=begin, until=end, next=after)
    with pytest.raises(ValueError, match="not enough values"):
        bills.tariff()
    bills.out.connection = 2
    assert bills.tariff() == told, "since when does not follow our connections"
    assert Bills(kept).tariff() is None, "without a calendar what an earlier bridge told is cleared"


def test_a_month_goes_on_from_the_days_that_are_over(kept: Kept, tmp_path: Path) -> None:
    file = tmp_path / "tariffs.toml"
    file.write_text(TARIFFS)
    bills = Bills(kept, billing_period="month", tariffs=file)
    kept.put(*evening(), now=LOOK)
    for hour, t1 in enumerate((1200.0, 1800.0)):
        kept.upkeep(now=LOOK + hour * HOUR_MS)
        (told,) = bills.look(LOOK + hour * HOUR_MS)
        assert told is not None
        assert (told.frozen.period, told.frozen.registers) == ("2026-10", {})
        assert told.running.maximum is not None
        assert told.running.maximum.power == 6000.0, "of the day before"
        energy = {name: one.energy_import for name, one in told.running.tariffs.items()}
        assert energy == {"T1": t1, "T2": 1950.0}
        later = range(191, 260)
        kept.put(*(at(minute, minute + 1, 4250.0 + 10 * (minute - 190)) for minute in later), now=LOOK)
