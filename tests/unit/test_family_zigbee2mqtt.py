"""zigbee2mqtt: every message of the sample, and the traps of DEVICES.md 1.5."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pytest

from adapters.families.zigbee2mqtt import Settings, Zigbee2Mqtt
from adapters.families.zigbee2mqtt.exposes import exposed
from adapters.family import Available, Finding, Gone, Outgoing, Point, Refused, Step, Switched, Values
from broker.contract.relay import Position
from tests.support.samples import Row, played, rows

KEY = "0x00124b0001020304"
FRIDGE = "zigbee2mqtt/shop/fridge"
POINT = Point(
    KEY, "shop/fridge", "Tuya", "TS011F_plug_1", KEY, quantities=("voltage", "current", "power", "energy"),
    switch=True,
)  # fmt: skip
FIRST = {"voltage": 229.0, "current": 0.41, "power": 86.0, "energy": 132710.0}
LISTED = next(row for row in rows("zigbee2mqtt_plug") if row.topic == "zigbee2mqtt/bridge/devices")
GET = Outgoing(f"{FRIDGE}/get", b'{"state": ""}')


def plug() -> dict[str, Any]:
    """The entry of the plug in ``bridge/devices``."""
    found: dict[str, Any] = json.loads(LISTED.payload)[1]
    return found


def listed(*devices: dict[str, Any]) -> Row:
    return Row(LISTED.topic, json.dumps(devices).encode())


def state(**told: Any) -> Row:
    return Row(FRIDGE, json.dumps(told).encode())


def three_phase() -> dict[str, Any]:
    """A device that exposes what the sample's ``board/three`` publishes."""
    units = {"power": "W", "current": "A", "voltage": "V"}
    names = [f"{name}{phase}" for name in units for phase in ("", "_phase_b", "_phase_c")]
    parts = [
        {"type": "numeric", "property": name, "unit": units[name.partition("_")[0]], "access": 1}
        for name in names
    ] + [
        {"type": "numeric", "property": name, "unit": "kWh", "access": 1}
        for name in ("energy", "produced_energy")
    ]
    return plug() | {
        "ieee_address": "0x00124b00000000bb", "friendly_name": "board/three",
        "definition": {"model": "X", "vendor": "Y", "exposes": parts},
    }  # fmt: skip


@pytest.fixture
def family() -> Zigbee2Mqtt:
    """With the plug of the sample."""
    made = Zigbee2Mqtt(Settings())
    made.take(LISTED.topic, LISTED.payload, retained=True, now=0)
    return made


def take(family: Zigbee2Mqtt, *messages: Row, now: float = 0.0) -> list[Step]:
    return list(chain(*played(family, messages, now=now)))


def values(steps: list[Step]) -> Iterator[Values]:
    return (step for step in steps if isinstance(step, Values))


def test_the_plug_of_the_sample() -> None:
    family = Zigbee2Mqtt(Settings())
    at = datetime(2026, 11, 20, 10, 5, 0, 123000, tzinfo=UTC)
    after = {"voltage": 230.0, "current": 0.0, "power": 0.0, "energy": 132710.0}
    assert played(family, rows("zigbee2mqtt_plug")) == [
        [],
        [POINT, Available(KEY, True)],
        [],
        [Values(KEY, FIRST, at), Switched(KEY, Position.CLOSED)],
        [Values(KEY, FIRST), Switched(KEY, Position.OPEN)],  # nobody has asked: the device says so
        [Values(KEY, after)],
        [],  # board/three is not in the list
        [Available(KEY, False)],
    ]


def test_switching_is_done_when_the_device_answers_and_not_when_it_echoes(family: Zigbee2Mqtt) -> None:
    take(family, state(state="ON", power=86))
    wished = family.switch(KEY, Position.OPEN, token="c1", now=10)
    assert wished == [Outgoing(f"{FRIDGE}/set", b'{"state": "OFF"}')]
    take(family, Row(f"{FRIDGE}/set", b'{"state": "OFF"}'), now=10)
    assert take(family, state(state="OFF", power=86), now=10.2) == [
        Switched(KEY, Position.OPEN, confirmed=False), GET,
    ]  # fmt: skip
    assert take(family, state(state="OFF", power=0), now=10.4) == [Values(KEY, {"power": 0.0})]
    assert list(family.due(11.0)) == []
    assert list(family.due(11.4)) == [Switched(KEY, Position.OPEN, token="c1")]
    assert list(family.due(30)) == []


def test_an_echo_followed_by_the_old_state_is_not_done(family: Zigbee2Mqtt) -> None:
    take(family, state(state="ON", power=86))
    family.switch(KEY, Position.OPEN, token="c1", now=10)
    take(family, state(state="OFF", power=86), now=10.2)
    take(family, state(state="OFF", power=87), now=10.3)  # a report repeats the wish
    assert take(family, state(state="ON", power=87), now=10.6)[-1] == Switched(
        KEY, Position.CLOSED, token="c1"
    )
    assert not any(isinstance(step, Switched) for step in family.due(30))


def test_a_report_that_was_on_its_way_neither_refutes_nor_confirms(family: Zigbee2Mqtt) -> None:
    take(family, state(state="ON", power=86))
    family.switch(KEY, Position.OPEN, token="c1", now=10)
    assert list(values(take(family, state(state="ON", power=90), now=10.1))) == [Values(KEY, {"power": 90.0})]
    assert take(family, state(state="OFF", power=90), now=10.2)[-1] == GET


def test_without_an_echo_the_device_is_asked_and_the_wish_ends(family: Zigbee2Mqtt) -> None:
    family.switch(KEY, Position.OPEN, token="c1", now=10)
    assert list(family.due(11)) == []
    assert list(family.due(12.1)) == [GET]
    assert list(family.due(13)) == []
    assert list(family.due(20.1)) == []
    assert take(family, state(state="OFF"), now=21) == [Switched(KEY, Position.OPEN)]


def test_a_state_after_the_wish_of_somebody_else_may_be_an_echo(family: Zigbee2Mqtt) -> None:
    take(family, Row(f"{FRIDGE}/set", b'{"state":"OFF"}'), now=100)
    assert take(family, state(state="OFF"), now=101) == [Switched(KEY, Position.OPEN, confirmed=False)]
    assert take(family, state(state="OFF"), now=111) == [Switched(KEY, Position.OPEN)]


def test_asking_brings_an_answer_also_where_nothing_has_changed(family: Zigbee2Mqtt) -> None:
    assert take(family, state(state="ON")) == [Switched(KEY, Position.CLOSED)]
    assert take(family, state(state="ON")) == []
    assert list(family.ask(KEY, now=1)) == [GET]
    assert take(family, state(state="ON")) == [Switched(KEY, Position.CLOSED)]


def test_a_retained_state_is_no_reading_and_no_position(family: Zigbee2Mqtt) -> None:
    assert list(family.take(FRIDGE, b'{"state":"ON","power":86}', retained=True, now=0)) == []


def test_a_state_that_comes_again_with_the_same_last_seen_is_no_new_reading(family: Zigbee2Mqtt) -> None:
    told = state(power=86, last_seen=1_795_435_200_000)
    assert [step.at for step in values(take(family, told, told))] == [datetime(2026, 11, 23, 12, tzinfo=UTC)]


@pytest.mark.parametrize(
    "last_seen", ["2026-11-20T10:05:00", "yesterday", -1, 1e300, True, None, "9999-12-31"]
)
def test_a_last_seen_that_is_no_time_leaves_the_arrival(family: Zigbee2Mqtt, last_seen: Any) -> None:
    assert take(family, state(power=1, last_seen=last_seen)) == [Values(KEY, {"power": 1.0})]


def test_three_phases_and_two_directions() -> None:
    family = Zigbee2Mqtt(Settings())
    board = rows("zigbee2mqtt_plug")[-2]
    assert board.topic == "zigbee2mqtt/board/three"
    steps = take(family, listed(three_phase()), board)
    assert steps[1:] == [
        Values("0x00124b00000000bb", {
            "power_l1": 601.0, "power_l2": 488.0, "power_l3": -120.0, "current_l1": 2.7, "current_l2": 2.2,
            "current_l3": 0.6, "voltage_l1": 230.1, "voltage_l2": 229.7, "voltage_l3": 231.0,
            "energy_import": 512330.0, "energy_export": 40020.0,
        })
    ]  # fmt: skip


def test_a_renamed_device_is_the_same_one(family: Zigbee2Mqtt) -> None:
    steps = take(
        family,
        Row(f"{FRIDGE}/availability", b'{"state":"online"}'),
        listed(plug() | {"friendly_name": "cellar"}),
        Row(f"{FRIDGE}/availability", b""),
        state(power=1),
        Row("zigbee2mqtt/cellar", b'{"power": 2}'),
    )
    renamed = [step.name for step in steps if isinstance(step, Point)]
    assert renamed == ["cellar"]
    assert steps[-1] == Values(KEY, {"power": 2.0})
    assert not any(isinstance(step, Available) and not step.online for step in steps)
    assert take(family, listed()) == [Gone(KEY)]


def test_available_is_what_bridge_and_device_both_say(family: Zigbee2Mqtt) -> None:
    online, offline = b'{"state":"online"}', b"offline"
    steps = take(
        family,
        Row("zigbee2mqtt/bridge/state", b"online"),
        Row(f"{FRIDGE}/availability", offline),
        Row("zigbee2mqtt/bridge/state", offline),
        Row("zigbee2mqtt/bridge/state", online),
        Row(f"{FRIDGE}/availability", online),
    )
    assert [step.online for step in steps if isinstance(step, Available)] == [True, False, True]
    assert [step.cause for step in take(family, Row("zigbee2mqtt/bridge/state", b"asleep"))
            if isinstance(step, Finding)] == ["availability is not known"]  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "Coordinator"},
        {"disabled": True},
        {"definition": None},
        {"friendly_name": "a/+/b"},
        {"ieee_address": "a/b"},
        {"definition": {"exposes": [{"type": "numeric", "property": "voltage", "unit": "mV", "access": 1}]}},
    ],
)
def test_what_is_no_meter(changed: dict[str, Any]) -> None:
    assert take(Zigbee2Mqtt(Settings()), listed(plug() | changed)) == []


def test_a_relay_that_cannot_be_asked_is_not_switched() -> None:
    device = plug()
    device["definition"]["exposes"][0]["features"][0]["access"] = 3
    family = Zigbee2Mqtt(Settings())
    (point,) = take(family, listed(device))
    assert isinstance(point, Point)
    assert not point.switch
    assert "cannot be asked" in point.doubts[0]
    (answer,) = family.switch(KEY, Position.OPEN, token="t", now=0)
    assert isinstance(answer, Refused)


def test_units_come_from_the_exposes_and_several_endpoints_are_left_out() -> None:
    def part(name: str, unit: str, **more: Any) -> dict[str, Any]:
        return {"type": "numeric", "property": name, "unit": unit, "access": 1} | more

    found = exposed(
        [
            part("power", "kW"),
            part("energy", "Wh"),
            part("power_left", "W", endpoint="left"),
            part("power_b", "W"),
        ]
    )
    assert {name: (one.quantity, int(one.factor)) for name, one in found.measures.items()} == {
        "power": ("power_l1", 1000), "energy": ("energy", 1), "power_b": ("power_l2", 1),
    }  # fmt: skip
    assert [doubt.partition(":")[0] for doubt in found.doubts] == [
        "'power_left' is left out", "'power_b' is taken as power_l2, by its name",
    ]  # fmt: skip


def test_output_by_attribute_is_a_finding(family: Zigbee2Mqtt) -> None:
    (finding,) = take(family, Row(f"{FRIDGE}/power", b"86"))
    assert isinstance(finding, Finding)
    assert finding.cause == "output is not JSON"
    take(family, state(power=1))
    assert take(family, Row(f"{FRIDGE}/power", b"86")) == []


def test_a_list_of_too_many_devices_is_bounded() -> None:
    family = Zigbee2Mqtt(Settings(), limit=10)
    steps = take(
        family, listed(*(plug() | {"ieee_address": f"0x{n}", "friendly_name": f"f{n}"} for n in range(99)))
    )
    assert sum(isinstance(step, Point) for step in steps) == 10
    assert [step.cause for step in steps if isinstance(step, Finding)] == ["too many devices"]
    assert list(values(take(family, Row("zigbee2mqtt/f0", b'{"power": 1}'))))
