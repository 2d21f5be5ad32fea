"""A device that says that it is another one gets neither its meter nor its commands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.families.homeassistant import HomeAssistant, Settings
from adapters.families.shelly2 import MOVES_AFTER, Shelly2
from adapters.families.shelly2_rpc import Shelly2Options
from adapters.families.tasmota import Tasmota
from adapters.families.tasmota_messages import TasmotaOptions
from adapters.family import Finding, Outgoing, Point, Step, Values
from broker.contract.relay import Position

MAC = "a0b0c0d0e0f4"
PLUG = f"shellyplus1pm-{MAC}"


def findings(steps: list[Step]) -> list[str]:
    return [step.cause for step in steps if isinstance(step, Finding)]


def values(steps: list[Step]) -> list[Values]:
    return [step for step in steps if isinstance(step, Values)]


def notify(made: Shelly2, prefix: str, source: str, *, now: float) -> list[Step]:
    told = {"src": source, "method": "NotifyStatus", "params": {"switch:0": {"apower": 5.0, "output": True}}}
    return list(made.take(f"{prefix}/events/rpc", json.dumps(told).encode(), retained=False, now=now))


@pytest.mark.parametrize("source", [PLUG, f"shellypro4pm-{MAC}"], ids=("same id", "same MAC"))
def test_a_shelly_stays_at_its_prefix_while_it_is_heard(source: str) -> None:
    made = Shelly2(Shelly2Options())
    notify(made, PLUG, PLUG, now=0.0)
    told = notify(made, "evil", source, now=1.0)
    assert findings(told) == ["two devices have one MAC"]
    assert not values(told)
    (request,) = made.switch(MAC.upper(), Position.OPEN, token="c", now=2.0)
    assert isinstance(request, Outgoing)
    assert request.topic == f"{PLUG}/rpc"
    assert not findings(notify(made, "new", source, now=1.0 + MOVES_AFTER)), "it was silent: it has moved"


def announced(
    family: HomeAssistant, key: str, device: dict[str, Any], *, now: float = 0.0, **told: Any
) -> list[Step]:
    usual = {"device": device, "device_class": "power", "unit_of_measurement": "W", "unique_id": key}
    usual |= {"state_topic": f"{key}/power"}
    topic = f"homeassistant/{told.pop('platform', 'sensor')}/{key}/config"
    return list(family.take(topic, json.dumps(usual | told).encode(), retained=True, now=now))


def power(family: HomeAssistant, key: str) -> list[Values]:
    found = list(family.take(f"{key}/power", b"1", retained=False, now=20.0))
    return values([*found, *family.due(30.0)])


def test_two_devices_of_home_assistant_with_one_key_are_not_one_meter() -> None:
    family = HomeAssistant(Settings())
    announced(family, "plug", {"connections": [["mac", MAC]]})
    assert [type(step) for step in family.due(5.0)] == [Point]
    announced(family, "evil", {"identifiers": [MAC]}, now=6.0)
    assert findings(list(family.due(12.0))) == ["two devices have one key"]
    assert power(family, "evil") == []
    assert power(family, "plug") == [Values(MAC, {"power": 1.0})]


def test_a_second_sensor_does_not_displace_the_one_that_measures() -> None:
    family = HomeAssistant(Settings())
    announced(family, "plug", {"identifiers": [MAC]})
    list(family.due(5.0))
    announced(family, "a-evil", {"identifiers": [MAC]}, now=6.0)  # sorts before
    list(family.due(12.0))
    assert power(family, "a-evil") == []
    assert power(family, "plug") == [Values(MAC, {"power": 1.0})]


def test_other_topics_of_a_metering_point_are_told() -> None:
    family = HomeAssistant(Settings())
    announced(family, "plug", {"identifiers": [MAC]})
    list(family.due(5.0))
    assert findings(announced(family, "plug", {"identifiers": [MAC]}, now=6.0)) == []
    told = announced(family, "plug", {"identifiers": [MAC]}, now=6.0, state_topic="evil/power")
    assert findings(told) == ["topics of a device have changed"]


def test_other_topics_of_a_tasmota_device_are_told() -> None:
    tasmota = Tasmota(TasmotaOptions())

    def config(topic: str) -> list[str]:
        told = {"mac": MAC.upper(), "t": topic, "rl": [1]}
        where = f"tasmota/discovery/{MAC.upper()}/config"
        return findings(list(tasmota.take(where, json.dumps(told).encode(), retained=True, now=0.0)))

    assert config("plug") == []
    tasmota.take("tele/plug/SENSOR", b'{"ENERGY": {"Power": 4}}', retained=False, now=1.0)
    assert config("plug") == []
    assert config("evil") == ["topics of a device have changed"]
