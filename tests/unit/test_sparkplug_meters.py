"""Our meters through our edge node to our own host: what the one says the other reads the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.family import Available, Outgoing, Point, Switched, Values
from adapters.sparkplug.edge_node import EdgeNode
from adapters.sparkplug.meters import Mirror
from broker.contract.birth import Birth, Hardware
from broker.contract.messages import Message, utc_now
from broker.contract.quantities import QUANTITIES
from broker.contract.reading import Reading
from broker.contract.relay import Position, Relay
from broker.contract.status import Status
from broker.contract.topics import Topics
from tests.support.edge import Host

METER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
KEY = f"G/n/{METER}"
TOPICS = Topics("sm/v1")


@dataclass
class Chain:
    """A meter's topics → mirror → edge node → host."""

    start: datetime = field(default_factory=lambda: utc_now().replace(microsecond=0))
    now: float = 100.0

    def __post_init__(self) -> None:
        self.edge = EdgeNode("G", "n", rebirth_seconds=0.0)
        self.mirror = Mirror(self.edge, TOPICS)
        self.host = Host()
        self.edge.begin(bd_seq=1)
        self.mirror.source(up=True, now=0.0)
        self.deliver(self.edge.connected(now=self.now, ms=0))

    def deliver(self, told: list[Outgoing]) -> list[Any]:
        """To the host, and what it asks for back to the node."""
        steps = [step for one in told for step in self.host.take(one.topic, one.payload)]
        for step in steps:
            if isinstance(step, Outgoing):
                self.deliver(self.edge.take(step.topic, step.payload, now=self.now, ms=self.ms))
        return steps

    @property
    def ms(self) -> int:
        return round(self.start.timestamp() * 1000)

    def say(self, kind: str, message: Message | None, *, retained: bool = False) -> list[Any]:
        """The meter publishes; what the host makes of it."""
        payload = message.payload() if message else b""
        topic = TOPICS.meter(METER, kind)
        return self.deliver(self.mirror.take(topic, payload, retained=retained, now=self.now, ms=self.ms))

    def wait(self, seconds: float) -> list[Any]:
        """Time passes."""
        self.now += seconds
        return self.deliver(self.mirror.due(now=self.now, ms=self.ms))

    def born(self, *quantities: str) -> list[Any]:
        """The meter goes online."""
        self.say("status", Status(online=True, session="s1", ts=self.start))
        birth = Birth(
            name="House 1",
            hardware=Hardware(vendor="XMX", model="M1", serial="77"),
            firmware="1.2",
            quantities=quantities or ("power", "energy"),
            interval=10,
            session="s1",
            ts=self.start,
        )
        return self.say("birth", birth)

    def read(self, seq: int, **values: float) -> list[Any]:
        """A reading, ``seq`` seconds after the start."""
        return self.say("reading", Reading(epoch=1, seq=seq, ts=self.at(seq), **values))

    def at(self, seconds: int) -> datetime:
        return (self.start + timedelta(seconds=seconds)).astimezone(UTC)


def test_a_meter_is_born_with_all_that_it_is() -> None:
    steps = Chain().born("voltage_l1", "energy_import")
    point = next(step for step in steps if isinstance(step, Point))
    assert point == Point(
        KEY, name=METER, vendor="XMX", model="M1", serial="77", firmware="1.2",
        quantities=("voltage_l1", "energy_import"), switch=True,
    )  # fmt: skip
    assert [step for step in steps if isinstance(step, Values)] == []
    assert Available(KEY, online=True) in steps


def test_readings_and_the_relay_arrive_with_their_times() -> None:
    chain = Chain()
    chain.born()
    assert chain.read(1, power=-5.5, energy=100.0) == [
        Values(KEY, {"power": -5.5, "energy": 100.0}, chain.at(1))
    ]
    assert chain.read(2, power=-5.5) == [Values(KEY, {"power": -5.5}, chain.at(2))]
    relay = Relay(position=Position.OPEN, operations=1, ts=chain.at(3))
    assert chain.say("relay", relay) == [Switched(KEY, Position.OPEN)]


def test_stale_values_are_null_and_come_back() -> None:
    chain = Chain()
    chain.born()
    chain.read(1, power=5.0, energy=1.0)
    assert chain.wait(29.0) == []
    (told,) = chain.mirror.due(now=chain.now + 2.0, ms=chain.ms)
    chain.now += 2.0
    assert chain.host.take(told.topic, told.payload) == []
    assert chain.read(40, power=6.0) == [Values(KEY, {"power": 6.0}, chain.at(40))]


def test_offline_and_withdrawn_meters_die() -> None:
    chain = Chain()
    chain.born()
    gone = [Available(KEY, online=False)]
    assert chain.say("status", Status(online=False, session="s1", ts=chain.at(5))) == gone
    assert (
        Available(KEY, online=True)
        in chain.say("status", Status(online=True, session="s2", ts=chain.at(6))) + chain.born()
    )
    assert chain.say("birth", None) == gone


def test_what_is_not_of_the_contract_is_counted() -> None:
    chain = Chain()
    chain.born()
    for topic in (TOPICS.meter(METER, "reading"), "sm/v1/nobody/reading", "other"):
        assert chain.mirror.take(topic, b"{", retained=False, now=chain.now, ms=chain.ms) == []
    assert chain.edge.counters["unreadable"] == 3
    history = TOPICS.meter(METER, "history")
    assert chain.mirror.take(history, b"{}", retained=False, now=chain.now, ms=chain.ms) == []


def test_without_its_source_all_is_null_and_after_it_only_who_is_gone_dies() -> None:
    chain = Chain()
    chain.born()
    chain.read(1, power=5.0, energy=1.0)
    chain.mirror.source(up=False, now=chain.now)
    (told,) = chain.mirror.due(now=chain.now, ms=chain.ms)
    assert "/DDATA/" in told.topic
    assert chain.host.take(told.topic, told.payload) == []
    chain.mirror.source(up=True, now=chain.now)
    assert chain.wait(1.0) == []
    assert chain.wait(4.0) == [Available(KEY, online=False)]


SOME = tuple(QUANTITIES)[::6]
ROWS = st.dictionaries(st.sampled_from(SOME), st.integers(0, 1000).map(lambda n: n / 1000), max_size=4)


@given(st.lists(ROWS, min_size=1, max_size=4), st.data())
def test_what_the_edge_node_says_the_host_reads_the_same(
    rows: list[dict[str, float]], data: st.DataObject
) -> None:
    chain = Chain()
    chain.born(*SOME)
    for seq, row in enumerate(rows, start=1):
        told = [step for step in chain.read(seq, **row) if isinstance(step, Values)]
        assert told == ([Values(KEY, dict(row), chain.at(seq))] if row else [])
        if data.draw(st.booleans()):  # a host that comes later reads the same from the births
            chain.host = Host()
            chain.edge.repeat()
            steps = chain.wait(0.0)
            assert [step for step in steps if isinstance(step, Values)] == told
