"""Our own edge node as a state machine: births, data, deaths, aliases and seq; no socket, no clock.

Sparkplug 3.0, chapters 5 and 6. What is told between two connections is not sent: the births of the next one
have the newest values. It is read-only: DCMD, and NCMD other than Rebirth, are counted and left alone.

>>> node = EdgeNode("Village", "office")
>>> node.begin(bd_seq=3).topic  # the will of the connection
'spBv1.0/Village/NDEATH/office'
>>> [one.topic for one in node.connected(now=0.0, ms=1)]
['spBv1.0/Village/NBIRTH/office']
>>> [one.topic for one in node.tell("m1", [Item("power", DataType.DOUBLE, 5.0, 1, unit="W")], ms=1)]
['spBv1.0/Village/DBIRTH/office/m1']
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from adapters.family import Outgoing
from adapters.sparkplug.datatypes import DataType, Scalar
from adapters.sparkplug.names import BD_SEQ, REBIRTH, Address, state_topic
from adapters.sparkplug.payload import Metric, Payload, decode, encode, metric
from adapters.sparkplug.wire import PayloadError

REBIRTH_SECONDS = 10.0
"""At least between two births on request."""


@dataclass(frozen=True)
class Item:
    """A metric of a device as it is now."""

    name: str
    datatype: DataType
    value: Scalar | None
    """None: no good value is known; sent as null."""
    at: int
    """Milliseconds since 1970."""
    unit: str = ""


class EdgeNode:
    """One edge node; its ``host`` is the primary host that it waits for, or "" for none."""

    def __init__(
        self, group: str, node: str, *, host: str = "", rebirth_seconds: float = REBIRTH_SECONDS
    ) -> None:
        self.address = Address(group, node)
        self.counters: Counter[str] = Counter()
        self.wants_new_connection = False
        """The primary host is gone: the connection must end, so that the next one has a new bdSeq."""
        self._host = host
        self._host_at = -1
        self._rebirth_seconds = rebirth_seconds
        self._devices: dict[str, dict[str, Item]] = {}
        self._aliases: dict[tuple[str, str], int] = {}
        self._bd_seq = self._seq = 0
        self._born = False
        self._born_at = -float("inf")
        self._wanted = False

    def begin(self, bd_seq: int) -> Outgoing:
        """Before each connection: NDEATH, which must be its last will, with QoS 1."""
        self._bd_seq, self._born, self._host_at = bd_seq, False, -1
        self._wanted = self.wants_new_connection = False
        return self.death()

    def death(self) -> Outgoing:
        """NDEATH; to be published before a disconnection on purpose, too."""
        self._born = False
        payload = Payload(metrics=(metric(BD_SEQ, DataType.INT64, self._bd_seq),))
        return Outgoing(self.address.topic("NDEATH"), encode(payload), qos=1)

    def subscriptions(self) -> tuple[str, ...]:
        """Commands to the node and to its devices, and the primary host's STATE."""
        own = (self.address.topic("NCMD"), f"{self.address.topic('DCMD')}/+")
        return (*own, state_topic(self._host)) if self._host else own

    def connected(self, *, now: float, ms: int) -> list[Outgoing]:
        """After the subscriptions; with a primary host the births wait for it."""
        return [] if self._host else self._births(now=now, ms=ms)

    def take(self, topic: str, data: bytes, *, now: float, ms: int) -> list[Outgoing]:
        """A command, or the STATE of the primary host."""
        if self._host and topic == state_topic(self._host):
            return self._state(data, now=now, ms=ms)
        if topic != self.address.topic("NCMD"):
            self.counters["commands_refused"] += 1
            return []
        try:
            metrics = decode(data).metrics
            wanted = [one.name == REBIRTH and one.value(DataType.BOOLEAN) is True for one in metrics]
        except PayloadError:
            self.counters["unreadable"] += 1
            return []
        self.counters["commands_refused"] += wanted.count(False)
        self._wanted = self._born and (self._wanted or any(wanted))
        return self.due(now=now, ms=ms)

    def due(self, *, now: float, ms: int) -> list[Outgoing]:
        """A birth that was asked for, as soon as it may come."""
        if not (self._born and self._wanted) or now - self._born_at < self._rebirth_seconds:
            return []
        self.counters["rebirths"] += 1
        return self._births(now=now, ms=ms)

    def repeat(self) -> None:
        """Something was not sent: the births must come again."""
        self._wanted = self._born

    def tell(self, device: str, items: Iterable[Item], *, ms: int) -> list[Outgoing]:
        """All that the device has now: DBIRTH if it or a metric is new, else DDATA of what has changed."""
        told = {item.name: item for item in items}
        known = self._devices.get(device)
        self._devices[device] = told
        if not self._born:
            return []
        if known is None or _shape(known) != _shape(told):
            return [self._device_birth(device, ms=ms)]
        changed = [item for item in told.values() if _differs(item, known[item.name])]
        if not changed:
            return []
        metrics = tuple(self._metric(device, item) for item in changed)
        return [self._numbered("DDATA", device, Payload(timestamp=ms, metrics=metrics))]

    def bury(self, device: str, *, ms: int) -> list[Outgoing]:
        """DDEATH of a device that is offline or out of service."""
        if self._devices.pop(device, None) is None or not self._born:
            return []
        return [self._numbered("DDEATH", device, Payload(timestamp=ms))]

    @property
    def devices(self) -> int:
        """Those that are told of."""
        return len(self._devices)

    def metric_of(self, device: str, alias: int | None) -> str | None:
        """The name of a device's metric with this alias; None if it has none."""
        return next(
            (name for (of, name), known in self._aliases.items() if (of, known) == (device, alias)), None
        )

    def _births(self, *, now: float, ms: int) -> list[Outgoing]:
        self._born, self._wanted, self._born_at, self._seq = True, False, now, 0
        metrics = (
            metric(BD_SEQ, DataType.INT64, self._bd_seq, timestamp=ms),
            metric(REBIRTH, DataType.BOOLEAN, value=False, timestamp=ms),
        )
        node = self._numbered("NBIRTH", "", Payload(timestamp=ms, metrics=metrics))
        return [node, *(self._device_birth(device, ms=ms) for device in self._devices)]

    def _device_birth(self, device: str, *, ms: int) -> Outgoing:
        items = self._devices[device].values()
        metrics = tuple(self._metric(device, item, birth=True) for item in items)
        return self._numbered("DBIRTH", device, Payload(timestamp=ms, metrics=metrics))

    def _metric(self, device: str, item: Item, *, birth: bool = False) -> Metric:
        """In data without name and type: the alias says both."""
        alias = self._aliases.setdefault((device, item.name), len(self._aliases) + 1)
        one = metric(
            item.name if birth else None,
            item.datatype,
            item.value,
            alias=alias,
            timestamp=item.at,
            properties={"engUnit": item.unit} if birth and item.unit else {},
        )
        return (
            one
            if birth
            else Metric(alias=alias, timestamp=item.at, null=one.null, place=one.place, raw=one.raw)
        )

    def _numbered(self, verb: str, device: str, payload: Payload) -> Outgoing:
        numbered = Payload(payload.timestamp, payload.metrics, self._seq)
        self._seq = (self._seq + 1) % 256
        where = Address(self.address.group, self.address.node, device)
        return Outgoing(where.topic(verb), encode(numbered), qos=0)

    def _state(self, data: bytes, *, now: float, ms: int) -> list[Outgoing]:
        """Births when the primary host comes, the end of the connection when it goes; not for older ones."""
        try:
            told = json.loads(data)
            online, at = told["online"] is True, int(told["timestamp"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self.counters["unreadable"] += 1
            return []
        if at < self._host_at:
            return []
        self._host_at = at
        if online and not self._born and not self.wants_new_connection:
            return self._births(now=now, ms=ms)
        self.wants_new_connection |= self._born and not online
        return []


def _differs(item: Item, before: Item) -> bool:
    """Another value, or the same of another time; null stays null."""
    return item != before and (item.value, before.value) != (None, None)


def _shape(items: dict[str, Item]) -> list[tuple[str, DataType, str]]:
    return [(item.name, item.datatype, item.unit) for item in items.values()]
