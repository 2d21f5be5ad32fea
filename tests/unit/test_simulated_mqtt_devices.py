"""Simulated Tasmota and Shelly devices, with the family that reads them: what they tell is what is read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from adapters.families.registry import family
from adapters.family import Available, Family, Finding, Outgoing, Point, Step, Switched, Values
from adapters.simulated.device import Device, Message, device_kind
from broker.contract.relay import Position
from meter_firmware.sensors.household import Household
from tests.support.samples import check_values

START = 1.8e9
THREE_PHASES = {"tasmota": 4, "shelly2": 3}
each = pytest.mark.parametrize("name", THREE_PHASES)


class Wire:
    """A device and a family, joined by a broker that loses nothing."""

    def __init__(self, name: str, number: int = 1) -> None:
        kind = family(name)
        self.house = Household(seed=2, number=number)
        self.device: Device = device_kind(name).make(self.house, number)
        self.family: Family = kind.make(kind.options())

    def pass_on(self, messages: Sequence[Message], t: float) -> list[Step]:
        """What the family makes of messages, and of the device's answers to its questions."""
        steps: list[Step] = []
        for message in messages:
            found = self.family.take(message.topic, message.payload, retained=False, now=t - START)
            steps += [*found, *self.answers(found, t)]
        check_values(steps)
        return steps

    def answers(self, steps: Sequence[Step], t: float) -> list[Step]:
        """The device's answers to what is sent to it."""
        return [
            answer
            for step in steps
            if isinstance(step, Outgoing)
            for answer in self.pass_on(self.device.take(step.topic, step.payload, t), t)
        ]


def values(steps: Sequence[Step]) -> list[Values]:
    return [step for step in steps if isinstance(step, Values)]


@each
def test_what_the_house_uses_is_what_is_read(name: str) -> None:
    wire = Wire(name)
    first = wire.pass_on(wire.device.birth(START), START)
    assert {step.key for step in first if isinstance(step, Point)} == {wire.device.key}
    assert Available(wire.device.key, True) in first
    t = START + 10
    (found,) = values(wire.pass_on(wire.device.messages(t), t))
    expected = wire.house.measure(t)
    assert found.at == datetime.fromtimestamp(t, UTC)
    assert found.measured["energy"] == expected["energy"]
    for quantity, tolerance in (("power", 0.5), ("voltage", 0.5), ("current", 0), ("frequency", 0)):
        assert abs(found.measured[quantity] - expected[quantity]) <= tolerance, quantity
    will = wire.device.will()
    assert will is not None
    assert wire.pass_on([will], t) == [Available(wire.device.key, False)]


@each
def test_its_relay_is_switched_and_confirmed(name: str) -> None:
    wire = Wire(name)
    wire.pass_on(wire.device.birth(START), START)
    for position in (Position.OPEN, Position.CLOSED):
        sent = wire.family.switch(wire.device.key, position, token="c1", now=0)
        confirmed = wire.answers(sent, START + 1)
        told = [(step.position, step.token) for step in confirmed if isinstance(step, Switched)]
        assert {place for place, _ in told} == {position}
        assert (position, "c1" if name == "shelly2" else None) in told
        assert [step for step in confirmed if isinstance(step, Finding)] == []


@each
def test_nothing_is_used_while_the_relay_is_open(name: str) -> None:
    wire = Wire(name)
    wire.pass_on(wire.device.birth(START), START)
    wire.answers(wire.family.switch(wire.device.key, Position.OPEN, token="c", now=0), START)
    (one,) = values(wire.pass_on(wire.device.messages(START + 10), START + 10))
    (other,) = values(wire.pass_on(wire.device.messages(START + 90), START + 90))
    assert other.measured["power"] == 0
    assert 0 <= float(other.measured["energy"]) - float(one.measured["energy"]) <= 1


@each
def test_a_three_phase_meter(name: str) -> None:
    wire = Wire(name, THREE_PHASES[name])
    wire.pass_on(wire.device.birth(START), START)
    (found,) = values(wire.pass_on(wire.device.messages(START + 60), START + 60))
    phases = [float(found.measured[f"power_l{n}"]) for n in (1, 2, 3)]
    assert abs(float(found.measured["power"]) - sum(phases)) < 0.05
    assert phases[0] > phases[2] > 0
    assert {"energy_import_l1", "voltage_l3", "frequency"} <= found.measured.keys()


def test_the_minutes_of_an_outage_are_read_from_the_meter() -> None:
    """100 minutes, 30 in each answer; the counters are the house's own."""
    wire = Wire("shelly2", 3)
    wire.pass_on(wire.device.birth(START), START)
    end = START + 6000
    wire.pass_on(wire.device.messages(end), end)
    found: list[Values] = []
    for turn in range(50):
        steps = wire.family.due(end - START + turn / 10)
        found += values([*steps, *wire.answers(steps, end)])
    history = [step for step in found if step.historical]
    assert len(history) == 99
    for place, step in enumerate(history, start=1):
        at = START + 60 * place
        assert step.at == datetime.fromtimestamp(at, UTC)
        assert abs(float(step.measured["energy_import"]) - wire.house.energy(at)) < 0.5
