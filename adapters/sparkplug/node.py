"""An edge node as its host sees it: session, order of messages, its devices.

Sparkplug 3.0, chapters 5 and 6: a gap in seq, data before a birth and an unknown metric ask for a new birth;
NDEATH counts with the bdSeq of the last NBIRTH only; after NBIRTH each device waits for its own DBIRTH. Until
a birth has come, nothing that the node says becomes a value, because its aliases may be others by now.

>>> node = Node(Address("Village", "edge1"), Names({}, {}), Limits())
>>> node.take(parse("spBv1.0/Village/NDATA/edge1"), b"\\x18\\x05", now=0, ms=0)[0].cause
'sparkplug data before birth'
>>> node.rebirth_wanted
True
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.family import Finding, Step
from adapters.sparkplug.device import Device, UnknownMetricError
from adapters.sparkplug.mapping import Names
from adapters.sparkplug.names import BD_SEQ, Address, Topic, parse
from adapters.sparkplug.payload import Payload, decode
from adapters.sparkplug.sequence import Held, Sequence
from adapters.sparkplug.wire import PayloadError

MAX_DEVICES = 1000
"""Of one node."""


@dataclass(frozen=True)
class Limits:
    """Seconds."""

    reorder: float = 5.0
    """For which a missing message is waited for."""
    birth: float = 30.0
    """For which a device may be without birth after its node's, or after we were away."""
    rebirth: float = 30.0
    """Between two requests for a birth of the same node."""


class Node:
    """One edge node."""

    def __init__(self, address: Address, names: Names, limits: Limits) -> None:
        self.address = address
        self.devices: dict[str, Device] = {}
        """By name; the node's own metrics are those of the device ""."""
        self.rebirth_wanted = False
        self.ahead = 0
        """Milliseconds that its clock is ahead of ours, as its last message has it."""
        self._names = names
        self._limits = limits
        self._born = False
        self._bd_seq: object = None
        self._sequence = Sequence()
        self._births_until: float | None = None
        self._asked = -float("inf")

    def take(self, topic: Topic, data: bytes, *, now: float, ms: int) -> list[Step]:
        """A message of the node or one of its devices, at ``ms`` since 1970 by our clock."""
        try:
            payload = decode(data)
        except PayloadError as error:
            return [Finding("sparkplug payload", f"{topic.topic(topic.verb)}: {error}")]
        if topic.verb == "NDEATH":
            return self._node_death(payload)
        self.ahead = 0 if payload.timestamp is None else payload.timestamp - ms
        if payload.seq is None:
            return [Finding("sparkplug seq", f"{topic.topic(topic.verb)}: no seq: 0 to 255 would be right")]
        if topic.verb == "NBIRTH":
            return self._node_birth(payload, seq=payload.seq, now=now)
        if not self._born:
            return self._lost("data before birth", topic.topic(topic.verb))
        held = Held(topic.topic(topic.verb), data)
        steps: list[Step] = []
        for one in self._sequence.take(payload.seq, held, now=now):
            if self._born:
                steps += self._in_turn(one)
        return [*steps, *self._gap(now)]

    def due(self, now: float) -> list[Step]:
        """What is missing is lost; a device whose birth does not come is offline."""
        steps = self._gap(now)
        if self._births_until is not None and now >= self._births_until:
            self._births_until = None
            steps += [step for one in self._unborn() for step in one.death()]
        return steps

    def ask(self, now: float) -> bool:
        """Whether to ask for a birth now; at most once in a while."""
        if not self.rebirth_wanted or now - self._asked < self._limits.rebirth:
            return False
        self._asked, self.rebirth_wanted = now, False
        return True

    def away(self, now: float) -> None:
        """We were not connected: what the node said meanwhile is lost, so its births must come again."""
        self._born, self.rebirth_wanted = False, True
        self._births_until = now + self._limits.birth
        for device in self.devices.values():
            device.unborn()

    def device(self, name: str) -> Device | None:
        """The device, made when it is first heard of; None when there are too many."""
        if name not in self.devices and len(self.devices) < MAX_DEVICES:
            address = Address(self.address.group, self.address.node, name)
            self.devices[name] = Device(address, self._names)
        return self.devices.get(name)

    def _node_birth(self, payload: Payload, *, seq: int, now: float) -> list[Step]:
        told = [one.raw for one in payload.metrics if one.name == BD_SEQ]
        self._bd_seq = told[0] if told else None
        self._born, self.rebirth_wanted = True, False
        self._sequence.begin(seq)
        for device in self.devices.values():
            device.unborn()
        self._births_until = now + self._limits.birth
        own = self.device("")
        return own.birth(payload) if own else []

    def _node_death(self, payload: Payload) -> list[Step]:
        told = [one.raw for one in payload.metrics if one.name == BD_SEQ]
        if (told[0] if told else None) != self._bd_seq:
            detail = f"{self.address.key}: bdSeq {told}, born with {self._bd_seq}"
            return [Finding("sparkplug death of another session", detail)]
        self._born = False
        return [step for device in self.devices.values() for step in device.death()]

    def _in_turn(self, one: Held) -> list[Step]:
        topic, payload = parse(one.topic), decode(one.payload)
        assert topic is not None
        device = self.device(topic.device)
        if device is None:
            return [Finding("sparkplug devices", f"{topic.key}: more than {MAX_DEVICES} devices of one node")]
        if topic.verb == "DDEATH":
            return device.death()
        if topic.verb == "DBIRTH":
            return device.birth(payload)
        if not device.born:
            return self._lost("data before birth", one.topic)
        try:
            return device.data(payload)
        except UnknownMetricError as error:
            return self._lost("unknown metric", f"{topic.key}: {error}")

    def _gap(self, now: float) -> list[Step]:
        if not (self._born and self._sequence.lost(now=now, seconds=self._limits.reorder)):
            return []
        missing, held = self._sequence.next, len(self._sequence.held)
        return self._lost("gap", f"{self.address.key}: seq {missing} has not come; {held} messages dropped")

    def _lost(self, cause: str, detail: str) -> list[Step]:
        self._born, self.rebirth_wanted = False, True
        for device in self.devices.values():
            device.unborn()
        return [Finding(f"sparkplug {cause}", detail)]

    def _unborn(self) -> Iterator[Device]:
        return (device for device in self.devices.values() if device.online and not device.born)
