"""Sparkplug B as its host: the sample, births, order, deaths, history, and what is left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from adapters.families.registry import families
from adapters.families.sparkplug import SparkplugFamily, SparkplugOptions
from adapters.family import Available, Outgoing, Point, Step, Switched, Values, will_of
from adapters.sparkplug.datatypes import DataType
from adapters.sparkplug.payload import Metric, decode, metric
from broker.contract.relay import Position
from tests.support.edge import (
    T0,
    Host,
    causes,
    message,
    node_birth,
    node_death,
    online,
    power,
    topics,
    values,
)
from tests.support.sparkplug import sample

KEY = "Village/edge1/meter7"
LIVE = {
    "voltage_l1": 231.0, "voltage_l2": 229.5, "voltage_l3": 230.0, "power": -512.0,
    "energy_import": 4_216_800.0, "energy_export": 1_013_400.0,
}  # fmt: skip
NODE, DEVICE = "spBv1.0/G/{}/n", "spBv1.0/G/{}/n/d"


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def born(host: Host | None = None, *metrics: Metric) -> Host:
    """A host that has heard NBIRTH and the DBIRTH of one device."""
    host = host or Host()
    host.take(NODE.format("NBIRTH"), node_birth())
    host.take(DEVICE.format("DBIRTH"), message(1, *(metrics or (power(5.0),))))
    host.steps.clear()
    return host


def test_the_sample_gives_a_meter_its_values_its_history_and_its_death() -> None:
    state, birth, device, data, history, command, death = sample()
    host = Host()
    assert host.take(state.topic, state.payload, retained=True) == []
    assert host.take(birth.topic, birth.payload) == []
    assert host.take(device.topic, device.payload) == [
        Point(
            KEY,
            name="meter7",
            vendor="",
            model="",
            serial="EXAMPLE-0001",
            quantities=tuple(LIVE),
            switch=True,
            doubts=(
                "the unit of Energy/Import is not told: taken as Wh",
                "the unit of Energy/Export is not told: taken as Wh",
            ),
        ),
        Available(KEY, online=True),
        Switched(KEY, Position.CLOSED),
        Values(KEY, dict(LIVE), at(T0)),
    ]
    newer = LIVE | {"power": -498.5, "energy_import": 4_216_801.0}
    assert host.take(data.topic, data.payload) == [Values(KEY, dict(newer), at(T0 + 9000))]
    assert host.take(history.topic, history.payload) == [
        Values(KEY, {"power": 12.5}, at(T0 - 600_000), historical=True)
    ]
    assert causes(host.take(command.topic, command.payload)) == ["sparkplug topic"]
    assert host.take(death.topic, death.payload) == [Available(KEY, online=False)]


def test_the_family_registers_itself_and_has_a_will() -> None:
    kind = families()["sparkplug"]
    family = kind.make(kind.options(host="office"))  # type: ignore[call-arg]
    will = will_of(family)
    assert will is not None
    assert (will.topic, will.qos, will.retain) == ("spBv1.0/STATE/office", 1, True)


def test_state_has_the_timestamp_of_the_will_and_is_told_again_when_it_is_lost() -> None:
    host = Host()
    will, here = host.family.will(), host.family.connected(0.0)[0]
    assert isinstance(here, Outgoing)
    assert json.loads(will.payload) == {"online": False, "timestamp": T0}
    assert json.loads(here.payload) == {"online": True, "timestamp": T0}
    assert here.retain
    assert host.take(will.topic, will.payload) == [here]
    assert host.take(here.topic, here.payload) == []
    assert causes(host.take(here.topic, b"[1")) == ["sparkplug STATE"]
    host.now = 60.0
    assert json.loads(host.family.will().payload)["timestamp"] == T0 + 60_000


def test_nodes_are_asked_for_their_births_at_each_connection() -> None:
    host = Host(SparkplugOptions(nodes=("Village/edge1",)))
    told = host.family.connected(0.0)
    assert topics(told) == ["spBv1.0/STATE/meter61850", "spBv1.0/Village/NCMD/edge1"]
    assert isinstance(told[1], Outgoing)
    (one,) = decode(told[1].payload).metrics
    assert (one.name, one.alias, one.value()) == ("Node Control/Rebirth", None, True)
    assert decode(told[1].payload).seq is None
    assert (told[1].qos, told[1].retain) == (0, False)


def test_data_before_a_birth_ask_for_it_and_not_too_often() -> None:
    host = Host()
    steps = host.take(DEVICE.format("DDATA"), message(7, power(1.0)))
    assert (causes(steps), topics(steps)) == (["sparkplug data before birth"], ["spBv1.0/G/NCMD/n"])
    assert topics(host.take(DEVICE.format("DDATA"), message(8, power(1.0)))) == []
    assert host.wait(29.0) == []
    assert topics(host.wait(1.0)) == ["spBv1.0/G/NCMD/n"]
    assert host.wait(31.0) == []


def test_what_comes_early_waits_for_what_is_missing() -> None:
    host = born()
    assert host.take(DEVICE.format("DDATA"), message(3, power(7.0, name=None, at=T0 + 2))) == []
    steps = host.take(DEVICE.format("DDATA"), message(2, power(6.0, name=None, at=T0 + 1)))
    assert [one.measured for one in values(steps)] == [{"power": 6.0}, {"power": 7.0}]


def test_what_is_missing_for_long_is_lost_and_nothing_counts_until_the_birth() -> None:
    host = born()
    assert host.take(DEVICE.format("DDATA"), message(3, power(7.0, name=None, at=T0 + 2))) == []
    assert host.wait(4.9) == []
    steps = host.wait(0.2)
    assert (causes(steps), topics(steps)) == (["sparkplug gap"], ["spBv1.0/G/NCMD/n"])
    assert values(host.take(DEVICE.format("DDATA"), message(4, power(8.0, name=None)))) == []
    assert host.take(NODE.format("NBIRTH"), node_birth()) == []
    steps = host.take(DEVICE.format("DBIRTH"), message(1, power(9.0, at=T0 + 3)))
    assert values(steps) == [Values("G/n/d", {"power": 9.0}, at(T0 + 3))]


def test_a_message_that_comes_twice_counts_once() -> None:
    host = born()
    data = message(2, power(6.0, name=None, at=T0 + 1))
    assert len(values(host.take(DEVICE.format("DDATA"), data))) == 1
    assert host.take(DEVICE.format("DDATA"), data) == []
    assert len(values(host.take(DEVICE.format("DDATA"), message(3, power(6.5, name=None))))) == 1


def test_a_death_counts_for_its_own_session_only() -> None:
    host = born()
    assert causes(host.take(NODE.format("NDEATH"), node_death(2))) == ["sparkplug death of another session"]
    assert online(host.take(NODE.format("NDEATH"), node_death(3))) == [("G/n/d", False)]
    steps = host.take(DEVICE.format("DDATA"), message(2, power(6.0, name=None)))
    assert (values(steps), topics(steps)) == ([], ["spBv1.0/G/NCMD/n"])


def test_a_dead_device_says_nothing_and_may_be_born_again() -> None:
    host = born()
    assert host.take(DEVICE.format("DDEATH"), message(2)) == [Available("G/n/d", online=False)]
    assert values(host.take(DEVICE.format("DDATA"), message(3, power(6.0, name=None)))) == []
    host.take(NODE.format("NBIRTH"), node_birth())
    steps = host.take(DEVICE.format("DBIRTH"), message(1, power(5.0)))
    assert online(steps) == [("G/n/d", True)]
    assert [one.measured for one in values(steps)] == [{"power": 5.0}]


def test_a_device_whose_birth_does_not_follow_its_nodes_is_offline() -> None:
    host = born()
    host.take(NODE.format("NBIRTH"), node_birth())
    assert host.wait(29.0) == []
    assert online(host.wait(2.0)) == [("G/n/d", False)]


def test_devices_are_looked_for_again_after_we_were_away() -> None:
    host = born()
    told = host.family.connected(10.0)
    assert topics(told) == ["spBv1.0/STATE/meter61850", "spBv1.0/G/NCMD/n"]
    assert values(host.take(DEVICE.format("DDATA"), message(2, power(6.0, name=None)))) == []
    assert online(host.take(NODE.format("NDEATH"), node_death(3))) == [("G/n/d", False)]


def test_null_leaves_the_value_out_and_the_others_stay() -> None:
    host = born(None, power(5.0), metric("Voltage", DataType.DOUBLE, 230.0, alias=2, timestamp=T0))
    steps = host.take(DEVICE.format("DDATA"), message(2, power(None, name=None, at=T0 + 1)))
    assert values(steps) == [Values("G/n/d", {"voltage": 230.0}, at(T0 + 1))]
    steps = host.take(DEVICE.format("DDATA"), message(3, power(float("nan"), name=None, at=T0 + 2)))
    assert [one.measured for one in values(steps)] == [{"voltage": 230.0}]
    assert causes(steps) == ["sparkplug value"]


def test_several_times_in_one_message_are_several_readings_in_their_order() -> None:
    host = born()
    late, early = (power(w, name=None, at=T0 + ms) for w, ms in ((8.0, 20), (7.0, 10)))
    steps = host.take(DEVICE.format("DDATA"), message(2, late, early))
    assert [(one.measured, one.at) for one in values(steps)] == [
        ({"power": 7.0}, at(T0 + 10)),
        ({"power": 8.0}, at(T0 + 20)),
    ]


@pytest.mark.parametrize("when", [0, 2**63, 253_402_300_800_000])
def test_a_time_that_is_none_is_none(when: int) -> None:
    host = born()
    steps = host.take(DEVICE.format("DDATA"), message(2, power(6.0, name=None, at=when)))
    assert values(steps) == [Values("G/n/d", {"power": 6.0}, None)]


def test_an_alias_of_two_metrics_is_nobodys() -> None:
    host = Host()
    host.take(NODE.format("NBIRTH"), node_birth())
    volt = metric("Voltage", DataType.DOUBLE, 230.0, alias=1, timestamp=T0)
    steps = host.take(DEVICE.format("DBIRTH"), message(1, power(5.0), volt))
    assert "sparkplug alias" in causes(steps)
    assert values(host.take(DEVICE.format("DDATA"), message(2, power(99.0, name=None)))) == []


def test_an_alias_that_the_birth_did_not_tell_asks_for_a_birth() -> None:
    steps = born().take(DEVICE.format("DDATA"), message(2, power(6.0, name=None, alias=9)))
    assert (causes(steps), topics(steps)) == (["sparkplug unknown metric"], ["spBv1.0/G/NCMD/n"])
    named = born().take(DEVICE.format("DDATA"), message(2, power(6.0, name="Other", alias=1)))
    assert (values(named), causes(named)) == ([], ["sparkplug unknown metric"])


def test_a_node_may_be_a_meter_itself() -> None:
    host = Host()
    steps = host.take(NODE.format("NBIRTH"), node_birth(0, 3, power(5.0)))
    assert [type(step) for step in steps] == [Point, Available, Values]
    steps = host.take(NODE.format("NDATA"), message(1, power(6.0, name=None)))
    assert values(steps) == [Values("G/n", {"power": 6.0}, at(T0))]
    assert online(host.take(NODE.format("NDEATH"), node_death())) == [("G/n", False)]


@pytest.mark.parametrize(
    ("topic", "payload", "retained", "cause"),
    [
        (NODE.format("NBIRTH"), b"\xff", False, "sparkplug payload"),
        (NODE.format("NBIRTH"), node_birth(), True, "sparkplug retained"),
        (NODE.format("NBOOM"), b"", False, "sparkplug topic"),
        ("spBv1.0/G/DDATA/n", b"", False, "sparkplug topic"),
        ("spBv1.0/G//n", b"", False, "sparkplug topic"),
        (NODE.format("NDATA"), b"", False, "sparkplug seq"),
    ],
)
def test_what_cannot_be_read_is_a_finding(topic: str, payload: bytes, retained: bool, cause: str) -> None:
    assert causes(Host().take(topic, payload, retained=retained)) == [cause]


def test_configured_names_units_and_nodes_that_are_left_out() -> None:
    options = SparkplugOptions(
        metrics={"Meter/W": "power", "Power": ""}, units={"Meter/W": "kW"}, exclude=("G/own",)
    )
    odd = metric("Meter/W", DataType.INT16, -2, alias=4, timestamp=T0)
    host = Host(options)
    host.take(NODE.format("NBIRTH"), node_birth())
    steps = host.take(DEVICE.format("DBIRTH"), message(1, power(5.0), odd))
    assert values(steps) == [Values("G/n/d", {"power": -2000.0}, at(T0))]
    assert host.take("spBv1.0/G/NBIRTH/own", node_birth()) == []
    assert host.take("spBv1.0/G/DDATA/own/d", message(1)) == []


@pytest.mark.parametrize(
    "wrong",
    [{"host": "a/b"}, {"nodes": ["edge1"]}, {"groups": ["#"]}, {"metrics": {"W": "watt"}},
     {"units": {"W": "horse"}}, {"unheard": 1}],
)  # fmt: skip
def test_impossible_options_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SparkplugOptions.model_validate(wrong)


def test_only_the_groups_of_interest_are_subscribed_to() -> None:
    assert SparkplugFamily(SparkplugOptions(groups=("V",))).subscriptions() == (
        "spBv1.0/STATE/meter61850",
        "spBv1.0/V/NBIRTH/+", "spBv1.0/V/NDEATH/+", "spBv1.0/V/NDATA/+",
        "spBv1.0/V/DBIRTH/+/+", "spBv1.0/V/DDEATH/+/+", "spBv1.0/V/DDATA/+/+",
    )  # fmt: skip


def test_what_is_held_is_bounded() -> None:
    host = born()
    big = Metric(name="x", place=power(1.0).place, raw=1.0, properties={"p": "x" * 400_000})
    steps: list[Step] = []
    for seq in (5, 6, 7):
        steps += host.take(DEVICE.format("DDATA"), message(seq, big))
    assert causes(steps) == ["sparkplug gap"]
