"""Shelly Gen2 and later: stored minutes after an outage, once each, and only what adds up."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.families.shelly2 import Shelly2
from adapters.families.shelly2_rpc import Shelly2Options
from adapters.family import Finding, Outgoing, Step, Values
from tests.support.samples import Row

METER = "shellypro3em-a0b0c0d0e0f1"
CLAMP = "shellyproem50-a0b0c0d0e0f2"
NOON = 1795262400
"""2026-11-21T12:00:00Z."""


def notify(ts: float, energy: dict[str, Any], *, of: str = METER, component: str = "emdata:0") -> Row:
    told = {"src": of, "method": "NotifyStatus", "params": {"ts": ts, component: {"id": 0} | energy}}
    return Row(f"{of}/events/rpc", json.dumps(told).encode())


def three(each: float) -> dict[str, float]:
    """Counters of three phases, and their totals."""
    phases = {f"{p}_total_act_energy": each for p in "abc"} | {
        f"{p}_total_act_ret_energy": 1.0 for p in "abc"
    }
    return phases | {"total_act": 3 * each, "total_act_ret": 3.0}


def after_outage(minutes: int, *, energy: float, **options: Any) -> tuple[Shelly2, list[dict[str, Any]]]:
    """A three-phase meter whose counters were away, and what it was asked then."""
    made = Shelly2(Shelly2Options.model_validate({"source": "a"} | options), first_id=1)
    feed(made, notify(NOON + 0.5, three(100.0)))
    feed(made, notify(NOON + 60 * minutes + 0.5, three(100.0 + energy)))
    return made, requests(made.due(1))


def feed(made: Shelly2, row: Row) -> list[Step]:
    return list(made.take(row.topic, row.payload, retained=False, now=0))


def requests(steps: Any) -> list[dict[str, Any]]:
    return [json.loads(step.payload) for step in steps if isinstance(step, Outgoing)]


def answer(made: Shelly2, request: dict[str, Any], result: dict[str, Any], *, of: str = METER) -> list[Step]:
    told = {"id": request["id"], "src": of, "dst": "a", "result": result}
    return feed(made, Row("a/rpc", json.dumps(told).encode()))


def block(start: int, values: list[list[float | None]], keys: list[str] | None = None) -> dict[str, Any]:
    names = [
        f"{p}_{what}" for p in "abc" for what in ("total_act_energy", "total_act_ret_energy", "avg_voltage")
    ]
    return {"keys": keys or names, "data": [{"ts": start, "period": 60, "values": values}]}


def minute(energy: float | None, voltage: float = 230.0) -> list[float | None]:
    return [energy, 0.0, voltage] * 3


def history(made: Shelly2) -> list[Values]:
    found = []
    for turn in range(50):
        steps = made.due(2 + turn / 10)
        assert len(steps) <= 12, "a few at a time"
        found += [step for step in steps if isinstance(step, Values)]
    assert all(step.historical for step in found)
    return found


def test_the_minutes_of_an_outage_once_each() -> None:
    made, (request,) = after_outage(4, energy=10.0)
    assert (request["method"], request["params"]) == (
        "EMData.GetData",
        {"id": 0, "ts": NOON, "end_ts": NOON + 239},
    )
    first = block(NOON, [minute(1.0), minute(2.0, 231.0)]) | {"next_record_ts": NOON + 120}
    (more,) = requests(answer(made, request, first))
    assert more["params"]["ts"] == NOON + 120
    answer(made, more, block(NOON + 120, [minute(3.0), minute(4.0)]))
    values = history(made)
    assert [step.at for step in values] == [datetime(2026, 11, 21, 12, m, tzinfo=UTC) for m in (1, 2, 3)]
    assert [step.measured["energy_import_l2"] for step in values] == [101.0, 103.0, 106.0]
    assert values[1].measured == {
        **{f"voltage_l{n}": 231.0 for n in (1, 2, 3)},
        **{f"energy_import_l{n}": 103.0 for n in (1, 2, 3)},
        **{f"energy_export_l{n}": 1.0 for n in (1, 2, 3)},
        "energy_import": 309.0, "energy_export": 3.0,
    }  # fmt: skip
    assert [step.cause for step in answer(made, more, block(NOON, [])) if isinstance(step, Finding)] == [
        "answer to no request"
    ]
    feed(made, notify(NOON + 300.5, three(111.0)))
    assert history(made) == []


@pytest.mark.parametrize("wrong", [[minute(1.0)] * 4, [minute(None)] + [minute(2.5)] * 3])
def test_minutes_that_do_not_add_up_give_no_counters(wrong: list[list[float | None]]) -> None:
    """The exports add up, the imports do not."""
    made, (request,) = after_outage(4, energy=10.0)
    answer(made, request, block(NOON, wrong))
    steps = list(made.due(2))
    assert steps[0] == Finding(
        "stored minutes do not add up",
        "A0B0C0D0E0F1: energy_import_l1, energy_import_l2, energy_import_l3 of 4 minutes",
    )
    names = {f"{name}_l{n}" for name in ("voltage", "energy_export") for n in (1, 2, 3)} | {"energy_export"}
    assert [set(step.measured) for step in steps[1:] if isinstance(step, Values)] == [names] * 3


def test_a_power_loss_of_the_meter_leaves_a_hole() -> None:
    made, (request,) = after_outage(10, energy=3.0)
    told = block(NOON, [minute(1.0)])
    told["data"] += block(NOON + 480, [minute(1.0), minute(1.0)])["data"]
    answer(made, request, told)
    values = history(made)
    assert [step.at.minute for step in values if step.at] == [1, 9]
    assert [step.measured["energy_import_l1"] for step in values] == [101.0, 102.0]


def test_a_clamp() -> None:
    made = Shelly2(Shelly2Options(source="a"), first_id=1)
    for ts, energy in ((0, 5.0), (180, 8.0)):
        counters = {"total_act_energy": energy, "total_act_ret_energy": 0.0}
        feed(made, notify(NOON + ts, counters, of=CLAMP, component="em1data:1"))
    (request,) = requests(made.due(1))
    assert (request["method"], request["params"]["id"]) == ("EM1Data.GetData", 1)
    keys = ["total_act_energy", "total_act_ret_energy", "avg_voltage", "avg_current", "max_voltage"]
    minutes: list[list[float | None]] = [[1.0, 0.0, 230.0, 0.4, 231.0]] * 3
    answer(made, request, block(NOON, minutes, keys), of=CLAMP)
    assert [(step.key, step.measured) for step in history(made)] == [
        ("A0B0C0D0E0F2.2", {"energy_import": n, "energy_export": 0.0, "voltage": 230.0, "current": 0.4})
        for n in (6.0, 7.0)
    ]


def test_only_so_much_is_asked_for() -> None:
    _, (request,) = after_outage(60 * 30, energy=1.0, backfill_hours=2)
    assert request["params"]["ts"] == NOON + 28 * 3600
    assert after_outage(60, energy=1.0, backfill_hours=0)[1] == []
    assert after_outage(2, energy=1.0)[1] == [], "a late minute is no outage"


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"keys": ["a"], "data": 5},
        {"keys": ["a"], "data": [7]},
        {"keys": ["a"], "data": [{"ts": NOON, "period": 0, "values": [[1]]}]},
        {"keys": [["a"]], "data": [{"ts": "x", "period": 60, "values": []}]},
    ],
)
def test_an_answer_that_is_none_ends_the_gap(result: dict[str, Any]) -> None:
    made, (request,) = after_outage(4, energy=10.0)
    (finding,) = answer(made, request, result)
    assert isinstance(finding, Finding)
    assert finding.cause == "stored minutes cannot be read"
    assert history(made) == []


def test_a_page_that_leads_nowhere_ends_the_gap() -> None:
    for following in (NOON, NOON - 60, NOON + 240, "soon", None):
        made, (request,) = after_outage(4, energy=10.0)
        assert answer(made, request, block(NOON, [minute(1.0)]) | {"next_record_ts": following}) == []


def test_silence_is_a_finding_and_the_next_gap_is_asked_for() -> None:
    made, _ = after_outage(4, energy=10.0)
    feed(made, notify(NOON + 600, three(120.0)))
    assert list(made.due(20)) == []
    silence, asked = made.due(40)
    assert silence == Finding("stored minutes were not answered", f"{METER} is silent")
    assert requests([asked])[0]["params"]["ts"] == NOON + 240


def test_counters_are_exact() -> None:
    made, (request,) = after_outage(3, energy=0.6)
    answer(made, request, block(NOON, [minute(0.1), minute(0.2), minute(0.3)]))
    assert [step.measured["energy_import_l1"] for step in history(made)] == [100.1, 100.3]
