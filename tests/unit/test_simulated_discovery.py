"""Simulated devices whose families need no options or these: values, relay, going away."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from adapters.families.registry import family
from adapters.family import Available, Family, Outgoing, Point, Step, Switched, Values
from adapters.simulated.device import Device, Message, device_families, device_kind
from adapters.simulated.zigbee2mqtt import SOURCE, Plug
from broker.contract.relay import Position
from meter_firmware.sensors.household import Household

OPTIONS = {"homeassistant": {}, "zigbee2mqtt": SOURCE, "shelly1": {}, "sparkplug": {}}
T = 1_796_000_000.0
each = pytest.mark.parametrize("name", OPTIONS)


class Rig:
    """A device and the family that reads it, on one broker."""

    def __init__(self, name: str, device: Device | None = None) -> None:
        kind = family(name)
        self.family: Family = kind.make(kind.options.model_validate(OPTIONS[name]))
        self.device = device or device_kind(name).make(Household(seed=1, number=7), 7)
        self.now = 0.0
        self.steps: list[Step] = []
        self.will = self.device.will()
        """Set before the connection, as a client does."""
        self.hear(self.device.birth(T))
        self.wait(3)

    def hear(self, messages: Iterable[Message]) -> None:
        """The broker gives the family what the device publishes, and the device what the family sends."""
        for message in messages:
            self.act(self.family.take(message.topic, message.payload, retained=False, now=self.now))

    def act(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.steps.append(step)
            if isinstance(step, Outgoing):
                assert step.topic in self.device.subscriptions()
                self.hear(self.device.take(step.topic, step.payload, T + self.now))

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.act(self.family.due(self.now))

    def switch(self, position: Position) -> list[Switched]:
        """What is said of the relay after a request."""
        self.steps.clear()
        self.act(self.family.switch(self.device.key, position, token="c1", now=self.now))
        for _ in range(3):
            self.wait(1)
        return [step for step in self.steps if isinstance(step, Switched)]

    def measured(self) -> dict[str, float | bool]:
        self.steps.clear()
        self.hear(self.device.messages(T + self.now))
        self.wait(2)
        (values,) = (step for step in self.steps if isinstance(step, Values))
        return values.measured


def test_each_has_a_family() -> None:
    assert set(OPTIONS) <= set(device_families())


@each
def test_a_device_becomes_a_point_with_its_values_and_goes_away(name: str) -> None:
    rig = Rig(name)
    point = [step for step in rig.steps if isinstance(step, Point)][-1]
    assert (point.key, point.switch) == (rig.device.key, True)
    assert Available(point.key, True) in rig.steps
    measured = rig.measured()
    assert set(measured) == set(point.quantities)
    assert measured["energy"] > 0
    assert rig.will is not None
    rig.steps.clear()
    rig.hear([rig.will])
    assert Available(point.key, False) in rig.steps


@each
def test_its_relay_switches_and_the_energy_stands_still(name: str) -> None:
    rig = Rig(name)
    before = rig.measured()["energy"]
    assert rig.switch(Position.OPEN)[-1].position is Position.OPEN
    assert rig.switch(Position.OPEN)[-1].confirmed
    rig.wait(36_000)
    after = rig.measured()
    assert after["power"] == 0
    assert after["energy"] - before <= 1
    assert rig.switch(Position.CLOSED)[-1] in (
        Switched(rig.device.key, Position.CLOSED),
        Switched(rig.device.key, Position.CLOSED, token="c1"),
    )
    assert rig.measured()["power"] > 0


def test_a_stuck_plug_echoes_and_is_refuted() -> None:
    rig = Rig("zigbee2mqtt", Plug(Household(seed=1, number=7), 7, stuck=True))
    assert rig.switch(Position.OPEN) == [
        Switched(rig.device.key, Position.OPEN, confirmed=False),
        Switched(rig.device.key, Position.CLOSED, token="c1"),
    ]


def test_several_zigbee2mqtt_on_one_broker() -> None:
    rig = Rig("zigbee2mqtt")
    other = Plug(Household(seed=1, number=8), 8)
    rig.hear(other.birth(T))
    assert {step.key for step in rig.steps if isinstance(step, Point)} == {rig.device.key, other.key}
    (asked,) = rig.family.ask(other.key, now=rig.now)
    assert isinstance(asked, Outgoing)
    assert asked.topic == other.subscriptions()[1]


@each
@pytest.mark.parametrize(
    "payload", [b"", b"[", b"[]", b"{}", b'{"state":[]}', b'{"state":"x"}', b"\xff", b"on"]
)
def test_a_device_ignores_nonsense(name: str, payload: bytes) -> None:
    device = Rig(name).device
    assert list(device.take(device.subscriptions()[0], payload, T)) == []


def test_a_shelly_3em_is_one_meter_of_three_phases() -> None:
    house = Household(seed=1, number=3)
    rig = Rig("shelly1", device_kind("shelly1").make(house, 3))
    measured, expected = rig.measured(), house.measure(T + rig.now - 2)
    assert {"power_l1", "voltage_l3", "energy_import_l2"} <= measured.keys()
    for name, wanted in (("power", expected["power"]), ("energy_import", expected["energy"])):
        assert abs(float(measured[name]) - float(wanted)) < 1, name


def test_a_sparkplug_node_tells_its_births_when_it_is_asked() -> None:
    """As to a host that comes later: the aliases of the data mean nothing to it before."""
    device = Rig("sparkplug").device
    later = Rig("sparkplug", device)
    kind = family("sparkplug")
    host = kind.make(kind.options())
    data = [one for one in later.device.messages(T + 10) if "/DDATA/" in one.topic]
    asked = [step for one in data for step in host.take(one.topic, one.payload, retained=False, now=0.0)]
    (request,) = (step for step in asked if isinstance(step, Outgoing))
    births = device.take(request.topic, request.payload, T + 11)
    steps = [step for one in births for step in host.take(one.topic, one.payload, retained=False, now=1.0)]
    assert device.key in {step.key for step in steps if isinstance(step, Point)}
