"""Tasmota's relays: which one switches which metering point, the topics of commands, and what confirms."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.families.tasmota import Tasmota
from adapters.families.tasmota_messages import TasmotaOptions
from adapters.family import Finding, Outgoing, Point, Refused, Switched, Values
from broker.contract.relay import Position
from tests.support.samples import Row, played, rows

MAC = "A0B0C0A1B2C3"


def device(energy: dict[str, Any], *, options: dict[str, Any] | None = None, **changes: Any) -> Tasmota:
    """A family that knows one device."""
    told = json.loads(rows("tasmota_plug")[0].payload) | changes
    tasmota = Tasmota(TasmotaOptions.model_validate({"devices": {MAC: options or {}}}))
    played(
        tasmota,
        [
            Row(f"tasmota/discovery/{MAC}/config", json.dumps(told).encode()),
            Row(f"tasmota/discovery/{MAC}/sensors", json.dumps({"sn": {"ENERGY": energy}}).encode()),
        ],
    )
    return tasmota


def sent(tasmota: Tasmota, key: str, position: Position) -> list[tuple[str, bytes]]:
    """Topics and payloads of a command."""
    steps = tasmota.switch(key, position, token="t", now=0)
    assert all(isinstance(step, Outgoing) and not step.retain and step.qos == 0 for step in steps)
    return [(step.topic, step.payload) for step in steps if isinstance(step, Outgoing)]


def test_a_plug() -> None:
    plug = device({"Power": 1})
    assert sent(plug, MAC, Position.OPEN) == [("cmnd/tasmota_A1B2C3/Power", b"OFF")]
    assert plug.ask(MAC, now=0) == [Outgoing("cmnd/tasmota_A1B2C3/State", b"", qos=0)]


@pytest.mark.parametrize(
    ("last", "payload"),
    [
        ("stat/tasmota_A1B2C3/RESULT", b'{"POWER":"ON"}'),
        ("stat/tasmota_A1B2C3/RESULT", b'{"POWER1":"ON"}'),
        ("stat/tasmota_A1B2C3/POWER", b"ON"),
        ("stat/tasmota_A1B2C3/POWER1", b"ON"),
        ("stat/tasmota_A1B2C3/POWER", b'{"POWER":"ON"}'),
        ("stat/tasmota_A1B2C3/STATE", b'{"Time":"2026-11-20T10:05:00","POWER":"ON"}'),
        ("tele/tasmota_A1B2C3/STATE", b'{"Time":"2026-11-20T10:05:00","POWER":"ON"}'),
        ("stat/tasmota_A1B2C3/STATUS11", b'{"StatusSTS":{"POWER":"ON"}}'),
    ],
)
def test_what_the_device_says_itself_confirms(last: str, payload: bytes) -> None:
    """Also with SetOption26 1 (POWER1) and SetOption4 1 (the answer on the command's own topic)."""
    steps = device({"Power": 1}).take(last, payload, retained=False, now=0)
    assert list(steps) == [Switched(MAC, Position.CLOSED)]


@pytest.mark.parametrize(
    ("last", "payload"),
    [
        ("stat/tasmota_A1B2C3/RESULT", b'{"POWER2":"ON"}'),
        ("stat/tasmota_A1B2C3/RESULT", b'{"PowerLock":"ON"}'),
        ("stat/tasmota_A1B2C3/RESULT", b'{"Command":"Unknown"}'),
        ("cmnd/tasmota_A1B2C3/POWER", b"ON"),
        ("stat/other/RESULT", b'{"POWER":"ON"}'),
    ],
)
def test_what_is_not_its_relay_confirms_nothing(last: str, payload: bytes) -> None:
    assert list(device({"Power": 1}).take(last, payload, retained=False, now=0)) == []


def test_the_words_are_the_devices() -> None:
    german = device({"Power": 1}, state=["AUS", "EIN", "UM", "HALT"])
    assert sent(german, MAC, Position.CLOSED) == [("cmnd/tasmota_A1B2C3/Power", b"EIN")]
    steps = german.take("stat/tasmota_A1B2C3/POWER", b"AUS", retained=False, now=0)
    assert list(steps) == [Switched(MAC, Position.OPEN)]
    assert list(german.take("stat/tasmota_A1B2C3/POWER", b"OFF", retained=False, now=0)) == [
        Finding("word is not known", f"POWER of {MAC}: 'OFF'")
    ]


def test_the_topics_are_the_devices() -> None:
    own = device(
        {"Power": 1}, ft="home/%topic%/%id%/%prefix%", tp=["do", "did", "says"], t="fridge", rl=[0, 1, 2]
    )
    assert own.subscriptions()[3:] == ("home/fridge/A1B2C3/did/+", "home/fridge/A1B2C3/says/+")
    assert sent(own, MAC, Position.OPEN) == [("home/fridge/A1B2C3/do/Power2", b"OFF")]
    values = own.take("home/fridge/A1B2C3/says/SENSOR", b'{"ENERGY":{"Power":5}}', retained=False, now=0)
    assert list(values) == [Values(MAC, {"power": 5})]
    assert list(own.take("tele/fridge/SENSOR", b'{"ENERGY":{"Power":5}}', retained=False, now=0)) == []


def test_a_light_or_a_shutter_is_no_relay() -> None:
    for kind in (0, 2, 3):
        (refused,) = device({"Power": 1}, rl=[kind]).switch(MAC, Position.OPEN, token="t", now=0)
        assert refused == Refused(MAC, "the device has no relay that switches this metering point", "t")
    (refused,) = device({"Power": 1}).switch("A0B0C0A1B2FF", Position.OPEN, token="t", now=0)
    assert isinstance(refused, Refused)


def test_one_energy_and_two_relays_need_a_choice() -> None:
    assert isinstance(
        device({"Power": 1}, rl=[1, 1]).switch(MAC, Position.OPEN, token="t", now=0)[0], Refused
    )
    chosen = device({"Power": 1}, rl=[1, 1], options={"relay": 2})
    assert sent(chosen, MAC, Position.OPEN) == [("cmnd/tasmota_A1B2C3/Power2", b"OFF")]


def test_an_energy_for_each_relay_makes_two_meters() -> None:
    """Total as a sum (SetOption129 0) is of neither; Voltage as one number is of both."""
    dual = device({"Power": [1, 2]}, rl=[1, 1], fn=["Pump", None])
    told = {"Power": [10, 20], "Voltage": 230, "Frequency": 50, "Total": 9, "Factor": [1, 0.5]}
    steps = list(dual.take("tele/tasmota_A1B2C3/SENSOR", _sensor(told), retained=False, now=0))
    assert [(step.key, step.name, step.switch) for step in steps if isinstance(step, Point)] == [
        (f"{MAC}.1", "Pump", True),
        (f"{MAC}.2", "Kiosk 7 2", True),
    ]
    assert [step for step in steps if isinstance(step, Values)] == [
        Values(f"{MAC}.1", {"power": 10, "voltage": 230, "frequency": 50, "power_factor": 1}),
        Values(f"{MAC}.2", {"power": 20, "voltage": 230, "frequency": 50, "power_factor": 0.5}),
    ]
    told["Total"] = [4, 5]
    each = dual.take("tele/tasmota_A1B2C3/SENSOR", _sensor(told), retained=False, now=0)
    assert [step.measured["energy"] for step in each if isinstance(step, Values)] == [4000, 5000]
    assert sent(dual, f"{MAC}.2", Position.OPEN) == [("cmnd/tasmota_A1B2C3/Power2", b"OFF")]
    state = dual.take("stat/tasmota_A1B2C3/RESULT", b'{"POWER2":"OFF"}', retained=False, now=0)
    assert list(state) == [Switched(f"{MAC}.2", Position.OPEN)]


def test_an_option_makes_phases_of_it() -> None:
    meter = device({"Power": [1, 2]}, rl=[1, 1], options={"arrays": "phases", "relay": 1})
    steps = meter.take("tele/tasmota_A1B2C3/SENSOR", _sensor({"Power": [1, 2]}), retained=False, now=0)
    assert list(steps) == [Values(MAC, {"power": 3, "power_l1": 1, "power_l2": 2})]


def _sensor(energy: dict[str, Any]) -> bytes:
    return json.dumps({"ENERGY": energy}).encode()
