"""Switching through Sparkplug: DCMD, and the DDATA that confirms it."""

from __future__ import annotations

import pytest

from adapters.families.sparkplug import SparkplugOptions
from adapters.family import Outgoing, Switched
from adapters.sparkplug.datatypes import DataType
from adapters.sparkplug.payload import Metric, decode, metric
from broker.contract.relay import Position
from tests.support.edge import T0, Host, causes, message, node_birth, node_death, power, switched, topics

KEY = "G/n/d"
NODE, DEVICE = "spBv1.0/G/{}/n", "spBv1.0/G/{}/n/d"


def closed(value: bool, *, at: int, name: str | None = None, alias: int | None = 16) -> Metric:
    return metric(name, DataType.BOOLEAN, value, alias=alias, timestamp=at)


def born(*, alias: int | None = 16, name: str = "Breaker/Closed", ahead: int = 0, **options: str) -> Host:
    host = Host(SparkplugOptions.model_validate(options))
    host.take(NODE.format("NBIRTH"), node_birth())
    relay = closed(True, at=T0 + ahead, name=name, alias=alias)
    host.take(DEVICE.format("DBIRTH"), message(1, power(5.0), relay, at=T0 + ahead))
    return host


def test_the_command_has_the_alias_and_no_name() -> None:
    (out,) = born().switch(KEY, "open")
    assert isinstance(out, Outgoing)
    assert (out.topic, out.qos, out.retain) == ("spBv1.0/G/DCMD/n/d", 0, False)
    payload = decode(out.payload)
    assert payload.seq is None
    assert payload.metrics == (closed(False, at=T0),)


def test_without_an_alias_it_has_the_name() -> None:
    (out,) = born(alias=None).switch(KEY, "open")
    assert isinstance(out, Outgoing)
    assert decode(out.payload).metrics == (closed(False, at=T0, name="Breaker/Closed", alias=None),)


@pytest.mark.parametrize("ahead", [0, 7_200_000, -3_600_000])
def test_the_devices_own_answer_confirms_by_its_own_clock(ahead: int) -> None:
    host = born(ahead=ahead)
    host.now = 10.0
    host.take(DEVICE.format("DDATA"), message(2, power(5.5, name=None), at=T0 + 10_000 + ahead))
    host.switch(KEY, "open")
    before = host.take(DEVICE.format("DDATA"), message(3, closed(False, at=T0 + 9_000 + ahead)))
    assert switched(before) == [Switched(KEY, Position.OPEN, confirmed=False)]
    after = host.take(DEVICE.format("DDATA"), message(4, closed(False, at=T0 + 10_200 + ahead)))
    assert switched(after) == [Switched(KEY, Position.OPEN, token="c1")]


def test_the_other_position_is_no_confirmation() -> None:
    host = born()
    host.switch(KEY, "open")
    steps = host.take(DEVICE.format("DDATA"), message(2, closed(True, at=T0 + 50)))
    assert switched(steps) == [Switched(KEY, Position.CLOSED)]
    steps = host.take(DEVICE.format("DDATA"), message(3, closed(False, at=T0 + 90)))
    assert switched(steps) == [Switched(KEY, Position.OPEN, token="c1")]


def test_what_happens_long_after_a_command_has_another_reason() -> None:
    host = born()
    host.switch(KEY, "open")
    steps = host.take(DEVICE.format("DDATA"), message(2, closed(False, at=T0 + 400_000)))
    assert switched(steps) == [Switched(KEY, Position.OPEN)]


def test_history_is_no_position() -> None:
    old = Metric(alias=16, timestamp=T0, historical=True, place=closed(True, at=0).place, raw=False)
    assert switched(born().take(DEVICE.format("DDATA"), message(2, old))) == []


def test_only_a_boolean_is_a_relay() -> None:
    host = Host()
    host.take(NODE.format("NBIRTH"), node_birth())
    one = metric("Breaker/Closed", DataType.INT8, 1, alias=16)
    host.take(DEVICE.format("DBIRTH"), message(1, power(5.0), one))
    assert causes(host.switch(KEY, "open")) == [
        "it has no metric that is a relay: set switch in adapters.toml"
    ]


def test_the_metric_may_be_named_in_the_configuration() -> None:
    host = born(name="Outputs/K1", switch="Outputs/K1")
    assert topics(host.switch(KEY, "open")) == ["spBv1.0/G/DCMD/n/d"]


@pytest.mark.parametrize("key", ["", "G", "G/n", "G/n/other", "G/other/d"])
def test_who_is_not_known_is_not_switched(key: str) -> None:
    assert len(causes(born().switch(key, "open"))) == 1


def test_who_is_dead_is_not_switched() -> None:
    host = born()
    host.take(NODE.format("NDEATH"), node_death())
    assert causes(host.switch(KEY, "open")) == ["it is offline"]


def test_asking_for_the_position_asks_for_a_birth() -> None:
    host = born()
    assert topics(host.family.ask(KEY, now=host.now)) == ["spBv1.0/G/NCMD/n"]
    assert topics(host.family.ask(KEY, now=host.now)) == []
    assert host.family.ask("nobody", now=host.now) == []
