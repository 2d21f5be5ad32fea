"""Shelly Gen2 and later: every message of the samples, and the traps of DEVICES.md 1.3."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from adapters.families.registry import family
from adapters.families.shelly2 import Shelly2
from adapters.families.shelly2_rpc import Shelly2Options
from adapters.family import Available, Finding, Outgoing, Point, Refused, Step, Switched, Values
from broker.contract.relay import Position
from tests.support.samples import Row, rows

PLUG, PLUG_MAC = "shellyplus1pm-a0b0c0d0e0f0", "A0B0C0D0E0F0"
METER, METER_MAC = "shellypro3em-a0b0c0d0e0f1", "A0B0C0D0E0F1"
OPTIONS = Shelly2Options(source="meter61850/a1")
AT = datetime(2026, 11, 21, 10, 6, 0, 20000, tzinfo=UTC)


def shelly(**options: Any) -> Shelly2:
    return Shelly2(Shelly2Options.model_validate({"source": "meter61850/a1"} | options), first_id=70)


def take(made: Shelly2, row: Row, *, now: float = 0.0, retained: bool = False) -> list[Step]:
    """What is made of a message, without the questions to the device."""
    steps = made.take(row.topic, row.payload, retained=retained, now=now)
    return [step for step in steps if not isinstance(step, Outgoing)]


def status(component: str, told: dict[str, Any], *, of: str = PLUG) -> Row:
    return Row(f"{of}/status/{component}", json.dumps(told).encode())


def notify(ts: float | None, params: dict[str, Any], *, of: str = PLUG, prefix: str = "") -> Row:
    told = {"src": of, "method": "NotifyStatus", "params": {"ts": ts} | params}
    return Row(f"{prefix or of}/events/rpc", json.dumps(told).encode())


def asked(steps: list[Step]) -> list[dict[str, Any]]:
    """The requests among the steps."""
    return [json.loads(step.payload) for step in steps if isinstance(step, Outgoing)]


def test_the_plus1pm_of_the_sample() -> None:
    """71 is the request of the sample; 72 is of somebody else, or of an earlier run."""
    made = shelly()
    online, full, delta, answer, error, _, offline = rows("shelly_gen2_plus1pm")
    assert asked(list(made.take(online.topic, online.payload, retained=True, now=0))) == [
        {"id": 70, "src": "meter61850/a1", "method": "Shelly.GetDeviceInfo"},
        {"id": 71, "src": "meter61850/a1", "method": "Shelly.GetStatus"},
    ]
    measured = {
        "power": 212.4, "voltage": 229.8, "current": 1.047, "power_factor": 0.88, "frequency": 50.0,
        "energy_export": 12.004, "energy_import": 41195.111,
    }  # fmt: skip
    names = ("voltage", "current", "power", "power_factor", "frequency", "energy_import", "energy_export")
    assert take(made, full) == [
        Point(PLUG_MAC, PLUG, "Shelly", "shellyplus1pm", PLUG_MAC, "", names, True, 60.0),
        Available(PLUG_MAC, True),
        Switched(PLUG_MAC, Position.CLOSED),
        Values(PLUG_MAC, measured),
    ]
    assert take(made, delta) == [Values(PLUG_MAC, measured | {"energy_import": 41198.612}, AT)]
    made._requests._next = 71
    (request,) = made.switch(PLUG_MAC, Position.OPEN, token="c1", now=1)
    assert isinstance(request, Outgoing)
    assert (request.topic, request.qos, request.retain) == (f"{PLUG}/rpc", 0, False)
    assert json.loads(request.payload) == {
        "id": 71, "src": "meter61850/a1", "method": "Switch.Set", "params": {"id": 0, "on": False}
    }  # fmt: skip
    assert take(made, answer) == [Switched(PLUG_MAC, Position.OPEN, token="c1")]
    assert take(made, answer) == [Finding("answer to no request", "meter61850/a1/rpc: id 71")]
    made.switch(PLUG_MAC, Position.OPEN, token="c2", now=1)
    reason = "Argument 'id', value 9 not found! (code -105)"
    assert take(made, error) == [Refused(PLUG_MAC, reason, "c2")]
    assert take(made, offline) == [Available(PLUG_MAC, False)]


def test_the_pro3em_of_the_sample() -> None:
    made = shelly()
    _, live, counters, fault = rows("shelly_gen2_pro3em")
    phases = {
        "current_l1": 4.029, "voltage_l1": 236.1, "power_l1": 951.2, "apparent_power_l1": 951.9,
        "power_factor_l1": 1.0, "current_l2": 4.027, "voltage_l2": 236.2, "power_l2": -951.1,
        "apparent_power_l2": 951.8, "power_factor_l2": -1.0, "current_l3": 3.03, "voltage_l3": 236.4,
        "power_l3": 715.4, "apparent_power_l3": 716.2, "power_factor_l3": 1.0, "frequency": 50.0,
        "current": 11.086, "power": 715.5, "apparent_power": 2619.9,
    }  # fmt: skip
    energies = {
        "energy_import_l1": 812345.61, "energy_export_l1": 120.02, "energy_import_l2": 15.1,
        "energy_export_l2": 402118.77, "energy_import_l3": 655101.2, "energy_export_l3": 0.0,
        "energy_import": 1467461.91, "energy_export": 402238.79,
    }  # fmt: skip
    assert take(made, live)[-1] == Values(METER_MAC, phases)
    assert take(made, counters)[-1] == Values(METER_MAC, phases | energies)
    two = {
        "current_l2": 4.0, "voltage_l2": 236.2, "power_l2": -940.0, "apparent_power_l2": 944.8,
        "power_factor_l2": -0.99, "current_l3": 3.0, "voltage_l3": 236.4, "power_l3": 700.0,
        "apparent_power_l3": 709.2, "power_factor_l3": 0.99, "frequency": 50.0,
    }  # fmt: skip
    assert take(made, fault) == [
        *(
            Finding("total without all phases", f"em:0 of {METER}: {told} is left out")
            for told in ("current 7", "power -240", "apparent_power 1654")
        ),
        Values(METER_MAC, two | energies),
    ]


def test_the_clamp_and_the_plug_of_the_sample() -> None:
    made = shelly()
    clamp, counters, relay, plug = rows("shelly_gen2_em1_pm1")
    live = {
        "current": 2.598, "voltage": 234.9, "power": 501.8, "apparent_power": 612.4, "power_factor": 0.84,
        "frequency": 50.0,
    }  # fmt: skip
    assert take(made, clamp)[-1] == Values("A0B0C0D0E0F2.1", live)
    energies = {"energy_import": 55321.17, "energy_export": 0.0}
    assert take(made, counters)[-1] == Values("A0B0C0D0E0F2.1", live | energies)
    assert take(made, relay) == [], "a switch without a meter is no metering point"
    point, _, values = take(made, plug)
    assert isinstance(point, Point)
    assert (point.key, point.switch) == ("A0B0C0D0E0F3", False)
    assert values == Values(
        "A0B0C0D0E0F3",
        {
            "voltage": 225.9, "current": 0.412, "power": 88.1, "apparent_power": 93.2, "power_factor": 0.95,
            "frequency": 50.0, "energy_import": 10907.553, "energy_export": 4.126,
        },
    )  # fmt: skip


def test_an_option_says_which_switch_is_the_clamps() -> None:
    made = shelly(devices={"shellyproem50-a0b0c0d0e0f2": {"relays": {"em1:0": 0}}})
    clamp, _, relay, _ = rows("shelly_gen2_em1_pm1")
    take(made, clamp)
    assert take(made, relay) == [Switched("A0B0C0D0E0F2.1", Position.OPEN)]
    assert isinstance(made.switch("A0B0C0D0E0F2.1", Position.OPEN, token="t", now=0)[0], Outgoing)


def test_aenergy_alone_is_one_way_only_in_a_full_status() -> None:
    """A change does not tell whether the device also counts ret_aenergy, which aenergy includes."""
    made = shelly()
    steps = take(made, notify(1795255560, {"switch:0": {"apower": 5.0, "aenergy": {"total": 9.5}}}))
    assert steps[-1] == Values(PLUG_MAC, {"power": 5.0}, datetime(2026, 11, 21, 10, 6, tzinfo=UTC))
    told = {"output": True, "apower": 5.0, "aenergy": {"total": 9.5}}
    assert take(shelly(), status("switch:0", told))[-1] == Values(PLUG_MAC, {"power": 5.0, "energy": 9.5})


def test_a_null_removes_and_a_silence_ends_what_was_known() -> None:
    made = shelly()
    take(made, status("pm1:0", {"apower": 5.0, "voltage": 230.0, "aenergy": {"total": 9.5}}))
    assert take(made, notify(1795255560, {"pm1:0": {"apower": None}}), now=60)[-1] == Values(
        PLUG_MAC, {"voltage": 230.0, "energy": 9.5}, datetime(2026, 11, 21, 10, 6, tzinfo=UTC)
    )
    steps = made.take(*_args(notify(1795259160, {"pm1:0": {"apower": 7.0}})), retained=False, now=3660)
    assert [step.measured for step in steps if isinstance(step, Values)] == [{"power": 7.0}]
    assert [request["method"] for request in asked(list(steps))] == ["Shelly.GetStatus"]


def _args(row: Row) -> tuple[str, bytes]:
    return row.topic, row.payload


def test_a_status_that_repeats_a_notification_is_a_copy() -> None:
    made = shelly()
    take(made, status("switch:0", {"apower": 5.0, "output": True}))
    take(made, notify(1795255560, {"switch:0": {"apower": 7.0}}), now=10)
    assert take(made, status("switch:0", {"apower": 7.0, "output": False}), now=10) == [
        Switched(PLUG_MAC, Position.OPEN)
    ]
    assert take(made, status("switch:0", {"apower": 8.0}), now=200) == [Values(PLUG_MAC, {"power": 8.0})]


def test_a_clock_that_was_never_set_is_no_time() -> None:
    made = shelly()
    for ts in (None, 12.5, -1, 1e15):
        assert take(made, notify(ts, {"pm1:0": {"apower": 5}}))[-1] == Values(PLUG_MAC, {"power": 5}, None)


def test_a_prefix_of_its_own_is_asked_who_it_is() -> None:
    made = shelly()
    (info,) = made.take("kitchen/online", b"true", retained=False, now=0)
    assert isinstance(info, Outgoing)
    assert info.topic == "kitchen/rpc"
    assert made.take("kitchen/online", b"true", retained=False, now=1) == [], "it was asked just now"
    assert take(made, status("switch:0", {"apower": 5.0}, of="kitchen")) == []
    told = {"id": PLUG, "mac": PLUG_MAC, "name": "Kitchen", "model": "SNSW-001P16EU", "ver": "1.4.4"}
    answer = {"id": 70, "src": PLUG, "dst": "meter61850/a1", "result": told}
    take(made, Row("meter61850/a1/rpc", json.dumps(answer).encode()))
    steps = take(made, status("switch:0", {"apower": 5.0}, of="kitchen"))
    assert steps[0] == Point(
        PLUG_MAC, "Kitchen", "Shelly", "SNSW-001P16EU", PLUG_MAC, "1.4.4", ("power",), True, 60.0
    )
    take(made, Row("kitchen/online", b"false"), now=2)
    take(made, notify(1795255560, {"switch:0": {"apower": 5.0}}, prefix="pantry"), now=2)
    (request,) = made.switch(PLUG_MAC, Position.OPEN, token="t", now=3)
    assert isinstance(request, Outgoing)
    assert request.topic == "pantry/rpc", "it was renamed"


def test_an_answer_of_another_device_confirms_nothing() -> None:
    made = shelly()
    take(made, status("switch:0", {"apower": 5.0, "output": True}))
    (request,) = made.switch(PLUG_MAC, Position.OPEN, token="t", now=0)
    assert isinstance(request, Outgoing)
    told = {"id": json.loads(request.payload)["id"], "src": METER, "result": {"was_on": True}}
    assert take(made, Row("meter61850/a1/rpc", json.dumps(told).encode())) == [
        Finding("answer of another device", f"{PLUG}: '{METER}'")
    ]


def test_what_is_retained_is_old() -> None:
    made = shelly()
    assert take(made, status("switch:0", {"apower": 5.0}), retained=True) == []


def test_it_is_registered() -> None:
    kind = family("shelly2")
    assert kind.make(kind.options()).name == "shelly2"
