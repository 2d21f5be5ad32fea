"""A Sparkplug host in a test, without a broker, and messages as an edge node sends them.

>>> host = Host()
>>> [type(step).__name__ for step in host.take("spBv1.0/G/NDATA/n", b"")]
['Finding']
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.families.sparkplug import SparkplugFamily, SparkplugOptions
from adapters.family import Available, Finding, Outgoing, Refused, Step, Switched, Values
from adapters.sparkplug.datatypes import DataType
from adapters.sparkplug.payload import Metric, Payload, encode, metric
from broker.contract.relay import Position

T0 = 1_795_255_500_000
"""Milliseconds: the sample's first timestamp."""


@dataclass
class Host:
    """A family with clocks that stand until they are moved."""

    options: SparkplugOptions = field(default_factory=SparkplugOptions)
    now: float = 0.0
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.family = SparkplugFamily(self.options, clock=lambda: T0 / 1000 + self.now)

    def take(self, topic: str, payload: bytes, *, retained: bool = False) -> list[Step]:
        """What follows from a message."""
        return self._note(self.family.take(topic, payload, retained=retained, now=self.now))

    def wait(self, seconds: float) -> list[Step]:
        """What follows from time."""
        self.now += seconds
        return self._note(self.family.due(self.now))

    def switch(self, key: str, position: str) -> list[Step]:
        """What follows from a command with the token ``c1``."""
        return self._note(self.family.switch(key, Position(position), token="c1", now=self.now))

    def _note(self, told: Sequence[Step]) -> list[Step]:
        self.steps += told
        return list(told)


def values(steps: Sequence[Step]) -> list[Values]:
    """The Values in ``steps``."""
    return [step for step in steps if isinstance(step, Values)]


def switched(steps: Sequence[Step]) -> list[Switched]:
    """The positions of relays in ``steps``."""
    return [step for step in steps if isinstance(step, Switched)]


def online(steps: Sequence[Step]) -> list[tuple[str, bool]]:
    """Each device that is there or not, by its key."""
    return [(step.key, step.online) for step in steps if isinstance(step, Available)]


def causes(steps: Sequence[Step]) -> list[str]:
    """Of the findings and refusals."""
    return [
        step.cause if isinstance(step, Finding) else step.reason
        for step in steps
        if isinstance(step, Finding | Refused)
    ]


def topics(steps: Sequence[Step]) -> list[str]:
    """Of what is to be published."""
    return [step.topic for step in steps if isinstance(step, Outgoing)]


def node_birth(seq: int = 0, bd_seq: int = 3, *more: Metric) -> bytes:
    """NBIRTH."""
    own = metric("bdSeq", DataType.INT64, bd_seq)
    return encode(Payload(timestamp=T0, seq=seq, metrics=(own, *more)))


def node_death(bd_seq: int = 3) -> bytes:
    """NDEATH."""
    return encode(Payload(timestamp=T0, metrics=(metric("bdSeq", DataType.INT64, bd_seq),)))


def power(watts: float | None, *, name: str | None = "Power", alias: int = 1, at: int = T0) -> Metric:
    """The metric of most tests."""
    return metric(name, DataType.FLOAT, watts, alias=alias, timestamp=at)


def message(seq: int, *metrics: Metric, at: int = T0) -> bytes:
    """DBIRTH, DDATA or DDEATH."""
    return encode(Payload(timestamp=at, seq=seq, metrics=metrics))
