"""Our edge node: births, aliases, seq, deaths, rebirths, the primary host, and that it is read-only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.family import Outgoing
from adapters.sparkplug.datatypes import DataType
from adapters.sparkplug.edge_node import EdgeNode, Item
from adapters.sparkplug.names import REBIRTH
from adapters.sparkplug.payload import Payload, decode, encode, metric
from adapters.sparkplug.service import next_bd_seq
from broker.contract.errors import ConfigurationError
from tests.support.edge import T0

STATE = "spBv1.0/STATE/scada"


def power(watts: float | None, at: int = T0) -> Item:
    return Item("power", DataType.DOUBLE, watts, at, unit="W")


def node(*devices: str, host: str = "") -> EdgeNode:
    """Connected, and with these devices born."""
    edge = EdgeNode("G", "n", host=host)
    edge.begin(bd_seq=7)
    edge.connected(now=0.0, ms=T0)
    for device in devices:
        edge.tell(device, [power(1.0)], ms=T0)
    return edge


def rebirth() -> bytes:
    return encode(Payload(metrics=(metric(REBIRTH, DataType.BOOLEAN, value=True),)))


def seqs(told: list[Outgoing]) -> list[tuple[str, int | None]]:
    return [(one.topic.removeprefix("spBv1.0/G/"), decode(one.payload).seq) for one in told]


def state(*, online: bool, at: int = 1) -> bytes:
    return json.dumps({"online": online, "timestamp": at}).encode()


def test_will_and_birth_have_the_same_bd_seq() -> None:
    edge = EdgeNode("G", "n")
    will = edge.begin(bd_seq=7)
    (birth,) = edge.connected(now=0.0, ms=T0)
    assert (will.topic, will.qos, will.retain) == ("spBv1.0/G/NDEATH/n", 1, False)
    assert (birth.topic, birth.qos, birth.retain) == ("spBv1.0/G/NBIRTH/n", 0, False)
    own, ask = decode(birth.payload).metrics
    assert (own.name, own.value(), own.value()) == ("bdSeq", 7, decode(will.payload).metrics[0].value())
    assert decode(will.payload).seq is None
    assert (ask.name, ask.value(), ask.alias) == (REBIRTH, False, None)


def test_seq_counts_over_the_node_and_its_devices_and_goes_round() -> None:
    edge = node("a", "b")
    told = [one for n in range(300) for one in edge.tell("ab"[n % 2], [power(2.0 + n, T0 + n)], ms=T0)]
    assert [seq for _, seq in seqs(told)] == [(3 + n) % 256 for n in range(300)]
    assert {topic for topic, _ in seqs(told)} == {"DDATA/n/a", "DDATA/n/b"}
    assert seqs(edge.bury("a", ms=T0)) == [("DDEATH/n/a", (3 + 300) % 256)]


def test_aliases_are_unique_over_the_node_and_stay() -> None:
    edge = node("a", "b")
    births = edge.take("spBv1.0/G/NCMD/n", rebirth(), now=60.0, ms=T0)
    found = [one.alias for message in births for one in decode(message.payload).metrics if one.alias]
    assert found == [1, 2]
    (data,) = edge.tell("b", [power(5.0, T0 + 1)], ms=T0)
    (one,) = decode(data.payload).metrics
    assert (one.alias, one.name, one.datatype, one.timestamp) == (2, None, 0, T0 + 1)


def test_data_have_what_is_new_and_null_where_nothing_is_known() -> None:
    edge = node()
    volt = Item("voltage", DataType.DOUBLE, 230.0, T0, unit="V")
    edge.tell("a", [power(1.0), volt], ms=T0)
    assert edge.tell("a", [power(1.0), volt], ms=T0 + 5) == []
    (data,) = edge.tell("a", [power(None, T0 + 9), volt], ms=T0 + 9)
    (one,) = decode(data.payload).metrics
    assert (one.alias, one.null, one.raw, one.timestamp) == (1, True, None, T0 + 9)


def test_another_set_of_metrics_is_a_new_birth() -> None:
    edge = node("a")
    (birth,) = edge.tell("a", [power(1.0), Item("Relay/Closed", DataType.BOOLEAN, True, T0)], ms=T0)
    assert birth.topic == "spBv1.0/G/DBIRTH/n/a"
    assert decode(birth.payload).metrics[0].properties == {"engUnit": "W"}


def test_a_buried_device_is_not_born_again_by_a_rebirth() -> None:
    edge = node("a", "b")
    edge.bury("a", ms=T0)
    assert edge.bury("a", ms=T0) == []
    births = edge.take("spBv1.0/G/NCMD/n", rebirth(), now=60.0, ms=T0)
    assert seqs(births) == [("NBIRTH/n", 0), ("DBIRTH/n/b", 1)]


def test_rebirths_are_limited() -> None:
    edge = node("a")
    assert edge.take("spBv1.0/G/NCMD/n", rebirth(), now=9.0, ms=T0) == []
    assert edge.take("spBv1.0/G/NCMD/n", rebirth(), now=9.5, ms=T0) == []
    assert seqs(edge.due(now=10.0, ms=T0)) == [("NBIRTH/n", 0), ("DBIRTH/n/a", 1)]
    assert edge.due(now=30.0, ms=T0) == []
    assert edge.counters["rebirths"] == 1


@pytest.mark.parametrize("told", [b"\xff", encode(Payload(metrics=(metric("x", DataType.INT8, 1),))), b""])
@pytest.mark.parametrize("topic", ["spBv1.0/G/NCMD/n", "spBv1.0/G/DCMD/n/a"])
def test_it_is_read_only(topic: str, told: bytes) -> None:
    edge = node("a")
    assert edge.take(topic, told, now=60.0, ms=T0) == []
    assert edge.due(now=90.0, ms=T0) == []
    assert edge.counters["commands_refused"] + edge.counters["unreadable"] == (told != b"" or "DCMD" in topic)


def test_what_happens_between_connections_is_in_the_next_births() -> None:
    edge = node("a")
    edge.begin(bd_seq=8)
    assert edge.tell("a", [power(9.0)], ms=T0) == []
    assert edge.tell("b", [power(3.0)], ms=T0) == []
    assert edge.due(now=90.0, ms=T0) == []
    births = edge.connected(now=91.0, ms=T0)
    assert seqs(births) == [("NBIRTH/n", 0), ("DBIRTH/n/a", 1), ("DBIRTH/n/b", 2)]
    assert [decode(one.payload).metrics[0].value() for one in births] == [8, 9.0, 3.0]


def test_the_primary_host_decides_when_births_come() -> None:
    edge = node(host="scada")
    assert STATE in edge.subscriptions()
    assert edge.tell("a", [power(1.0)], ms=T0) == []
    assert edge.take(STATE, state(online=False, at=5), now=1.0, ms=T0) == []
    assert edge.take(STATE, state(online=True, at=4), now=2.0, ms=T0) == []
    assert seqs(edge.take(STATE, state(online=True, at=6), now=3.0, ms=T0)) == [
        ("NBIRTH/n", 0), ("DBIRTH/n/a", 1),
    ]  # fmt: skip
    assert edge.take(STATE, state(online=False, at=5), now=4.0, ms=T0) == []
    assert not edge.wants_new_connection
    edge.take(STATE, state(online=False, at=6), now=5.0, ms=T0)
    assert edge.wants_new_connection
    edge.begin(bd_seq=8)
    assert not edge.wants_new_connection
    assert edge.connected(now=6.0, ms=T0) == []


@pytest.mark.parametrize("told", [b"", b"[", b"1", b"{}", b'{"online":true,"timestamp":"x"}', b"[" * 9999])
def test_a_state_that_is_none_is_counted(told: bytes) -> None:
    edge = node(host="scada")
    assert edge.take(STATE, told, now=1.0, ms=T0) == []
    assert edge.counters["unreadable"] == 1


def test_bd_seq_counts_up_over_restarts_and_goes_round(tmp_path: Path) -> None:
    file = tmp_path / "new" / "bd.json"
    assert [next_bd_seq(file) for _ in range(257)] == [*range(256), 0]
    assert json.loads(file.read_text()) == {"bdSeq": 0}


def test_a_damaged_bd_seq_is_named(tmp_path: Path) -> None:
    file = tmp_path / "bd.json"
    file.write_text("{")
    with pytest.raises(ConfigurationError, match=r"bd\.json"):
        next_bd_seq(file)
