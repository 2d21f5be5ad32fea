"""Shelly Gen1: every message of the samples, put together, and the traps of DEVICES.md 1.2."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from adapters.families.registry import family
from adapters.families.shelly1 import Shelly1, Shelly1Options
from adapters.family import Available, Finding, Outgoing, Point, Refused, Step, Switched, Values
from broker.contract.relay import Position
from tests.support.samples import Row, played, rows

METER = "shellyem3-0011223344AA"
PLUG = "shellyplug-s-DDEEFF"


def shelly(**devices: object) -> Shelly1:
    return Shelly1(Shelly1Options.model_validate({"devices": devices}))


def told(name: str, **values: object) -> list[Row]:
    """Messages of a device: ``emeter_0_power`` is emeter/0/power; ``__`` stands for ``_``."""
    below = {what.replace("_", "/").replace("//", "_"): value for what, value in values.items()}
    return [Row(f"shellies/{name}/{what}", str(value).encode()) for what, value in below.items()]


def after(made: Shelly1, messages: Iterable[Row], *, now: float = 0.0) -> list[Step]:
    """All steps of messages that come at once, and those of the end of their window."""
    steps = [step for each in played(made, messages, now=now) for step in each]
    assert list(made.due(now + 0.4)) == []
    return [*steps, *made.due(now + 0.5)]


def values(steps: Iterable[Step]) -> list[Values]:
    return [step for step in steps if isinstance(step, Values)]


def test_the_3em_of_the_sample() -> None:
    made, messages = shelly(), rows("shelly_gen1_3em")
    measured = {
        "power_l1": 951.2, "voltage_l1": 236.1, "current_l1": 4.03, "power_factor_l1": 1.0,
        "energy_import_l1": 812345.6, "energy_export_l1": 120.0, "reactive_power_l1": 0.0,
        "power_l2": -95.1, "voltage_l2": 236.2, "current_l2": 0.41, "power_factor_l2": -0.98,
        "energy_import_l2": 15.1, "energy_export_l2": 40211.7, "reactive_power_l2": 0.0,
        "power_l3": 715.4, "voltage_l3": 236.4, "current_l3": 3.03, "power_factor_l3": 1.0,
        "energy_import_l3": 655101.2, "energy_export_l3": 0.0, "reactive_power_l3": 0.0,
        "power": 1571.5, "reactive_power": 0.0, "energy_import": 1467461.9, "energy_export": 40331.7,
    }  # fmt: skip
    point, available, switched, found = after(made, messages[:-1])
    assert isinstance(point, Point)
    assert (point.key, point.model, point.serial, point.switch) == (METER, "SHEM-3", "0011223344AA", True)
    assert point.firmware == "20230913-114008/v1.14.0-gcb84623"
    assert set(point.quantities) == set(measured)
    assert [available, switched] == [Available(METER, True), Switched(METER, Position.CLOSED)]
    assert found == Values(METER, measured)
    assert played(made, messages[-1:]) == [[Available(METER, False)]]


def test_the_plug_of_the_sample() -> None:
    """154212 Watt-minutes are 2570.2 Wh."""
    made, messages = shelly(), rows("shelly_gen1_plug_s")
    steps = after(made, messages[:-1])
    assert steps == [
        Point(PLUG, PLUG, "Shelly", "shellyplug-s", "DDEEFF", "", ("power", "energy"), True, 30.0),
        Available(PLUG, True),
        Switched(PLUG, Position.CLOSED),
        Values(PLUG, {"power": 43.26, "energy": 2570.2}),
    ]
    assert played(made, messages[-1:]) == [[Switched(PLUG, Position.OPEN)]]


def test_values_are_put_together_until_none_comes() -> None:
    made = shelly()
    played(made, told(METER, emeter_0_power=1), now=0.0)
    played(made, told(METER, emeter_1_power=2), now=0.4)
    assert list(made.due(0.6)) == []
    assert values(made.due(0.9)) == [Values(METER, {"power_l1": 1.0, "power_l2": 2.0})]
    assert list(made.due(5.0)) == []


def test_values_that_never_cease_are_put_together_after_two_seconds() -> None:
    made = shelly()
    for turn in range(10):
        played(made, told(METER, emeter_0_power=turn), now=turn * 0.2)
        assert list(made.due(turn * 0.2)) == []
    assert values(made.due(2.0)) == [Values(METER, {"power_l1": 9.0})]


def test_a_total_needs_all_phases_and_values_grow_old() -> None:
    made = shelly()
    first = told(METER, emeter_0_power=100, emeter_1_power=-30, emeter_2_power=5)
    assert values(after(made, first))[0].measured["power"] == 75.0
    assert values(after(made, told(METER, emeter_0_power=50), now=30))[0].measured == {
        "power_l1": 50, "power_l2": -30, "power_l3": 5, "power": 25,
    }  # fmt: skip
    assert values(after(made, told(METER, emeter_0_power=60), now=90)) == [Values(METER, {"power_l1": 60})]


def test_the_interval_energy_of_a_clamp_is_no_counter() -> None:
    assert after(shelly(), told(METER, emeter_0_energy=950, emeter_0_returned__energy=1)) == []


def test_what_is_known_of_a_device_that_was_away_counts_no_more() -> None:
    made = shelly()
    after(made, told(PLUG, relay_0="on", relay_0_power=5, relay_0_energy=600))
    assert played(made, told(PLUG, online="false", relay_0="off")) == [
        [Available(PLUG, False)],
        [Available(PLUG, True), Switched(PLUG, Position.OPEN)],
    ]
    assert after(made, told(PLUG, relay_0_power=0), now=1) == [Values(PLUG, {"power": 0})]


def test_what_is_retained_is_old() -> None:
    made = shelly()
    for row in rows("shelly_gen1_plug_s"):
        assert list(made.take(row.topic, row.payload, retained=True, now=0)) == []
    assert list(made.due(1)) == []


@pytest.mark.parametrize("payload", [b"nan", b"inf", b"1_000", b"", b"0x10", b"1e999", b"-1e13", b"on"])
def test_what_is_no_value_is_left_out(payload: bytes) -> None:
    made = shelly()
    steps = after(made, [Row(f"shellies/{PLUG}/relay/0/power", payload), *told(PLUG, relay_0_energy=60)])
    assert [step for step in steps if isinstance(step, Finding)] != []
    assert values(steps) == [Values(PLUG, {"energy": 1.0})]


def test_two_relays_with_a_meter_are_two_metering_points() -> None:
    made = shelly()
    steps = after(made, told("shellyswitch25-AABBCC", relay_0_power=1, relay_1_power=2, voltage=230))
    assert [(step.key, step.measured) for step in values(steps)] == [
        ("shellyswitch25-AABBCC", {"power": 1, "voltage": 230}),
        ("shellyswitch25-AABBCC.2", {"power": 2, "voltage": 230}),
    ]
    assert made.switch("shellyswitch25-AABBCC.2", Position.OPEN, token="t", now=0) == [
        Outgoing("shellies/shellyswitch25-AABBCC/relay/1/command", b"off", qos=0)
    ]


def test_clamps_of_an_em_are_two_metering_points() -> None:
    made = shelly()
    steps = after(made, told("shellyem-AABBCC", relay_0="on", emeter_0_power=1, emeter_1_total=2))
    assert [(step.key, step.measured) for step in values(steps)] == [
        ("shellyem-AABBCC.1", {"power": 1}),
        ("shellyem-AABBCC.2", {"energy_import": 2}),
    ]
    (refused,) = made.switch("shellyem-AABBCC.1", Position.OPEN, token="t", now=0)
    assert refused == Refused(
        "shellyem-AABBCC.1", "the device has no relay that switches this metering point", "t"
    )


def test_options() -> None:
    made = shelly(**{"garage": {"phases": True}, "shellyem-AABBCC": {"relay": 0}})
    assert values(after(made, told("garage", emeter_1_power=2))) == [Values("garage", {"power_l2": 2})]
    after(made, told("shellyem-AABBCC", emeter_0_power=1))
    assert isinstance(made.switch("shellyem-AABBCC.1", Position.OPEN, token="t", now=0)[0], Outgoing)


def test_switching_is_confirmed_by_the_relays_topic() -> None:
    made = shelly()
    after(made, rows("shelly_gen1_plug_s"))
    assert made.switch(PLUG, Position.CLOSED, token="t", now=0) == [
        Outgoing(f"shellies/{PLUG}/relay/0/command", b"on", qos=0)
    ]
    assert played(made, told(PLUG, relay_0_command="on")) == [[]], "what we have sent confirms nothing"
    assert played(made, told(PLUG, relay_0="on")) == [[Switched(PLUG, Position.CLOSED)]]
    assert played(made, told(PLUG, relay_0="overpower")) == [[Switched(PLUG, Position.OPEN)]]
    assert made.ask(PLUG, now=0) == [Outgoing(f"shellies/{PLUG}/command", b"update", qos=0)]


def test_an_announcement_is_of_its_sender() -> None:
    payload = rows("shelly_gen1_3em")[1].payload
    assert [
        step.cause
        for row in (Row(f"shellies/{PLUG}/announce", payload), Row("shellies/announce", b'{"id":"a/b"}'))
        for step in shelly().take(row.topic, row.payload, retained=False, now=0)
        if isinstance(step, Finding)
    ] == ["announcement of another device", "announcement without an id"]


def test_it_is_registered() -> None:
    kind = family("shelly1")
    assert kind.make(kind.options()).name == "shelly1"
