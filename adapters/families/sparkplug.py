"""Sparkplug B 3.0, as its host application: edge nodes and their devices become metering points.

A point is ``group/node/device``. Births are not retained, so the family asks each node that it hears, or that
the configuration names, for a new one. It says with STATE that the host is there: its will belongs to the
connection (:meth:`SparkplugFamily.will`), and a caller that ends the connection on purpose publishes it.

>>> family = SparkplugFamily(SparkplugOptions(host="office"))
>>> family.connected(0.0)[0].topic
'spBv1.0/STATE/office'
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from adapters.families.registry import FamilyKind, Options, register
from adapters.family import Finding, Outgoing, Refused, Step
from adapters.sparkplug.datatypes import DataType
from adapters.sparkplug.device import Budget, Device, Pending
from adapters.sparkplug.mapping import Names
from adapters.sparkplug.names import (
    DEVICE_VERBS,
    NAMESPACE,
    NODE_VERBS,
    REBIRTH,
    Address,
    address,
    checked_name,
    parse,
    state_topic,
)
from adapters.sparkplug.node import Limits, Node
from adapters.sparkplug.payload import Payload, encode, metric
from adapters.units import UNITS
from broker.contract.quantities import QUANTITIES
from broker.contract.relay import Position

MAX_NODES = 10_000


class SparkplugOptions(Options):
    """Keys of ``family = "sparkplug"`` in adapters.toml."""

    host: Annotated[str, AfterValidator(lambda name: checked_name(name, what="host"))] = "meter61850"
    """Our name as a host application, in ``spBv1.0/STATE/<host>``."""
    groups: tuple[str, ...] = ()
    """Groups to listen to; empty: all."""
    nodes: tuple[str, ...] = ()
    """``GROUP/NODE`` of nodes to ask for their births at each connection; others when they say something."""
    exclude: tuple[str, ...] = ()
    """``GROUP/NODE`` of nodes that are left out, such as this system's own output (`sparkplug run`)."""
    metrics: dict[str, str] = Field(default_factory=dict)
    """Name of a metric → quantity (docs/topics.md), or "" for none; before the common spellings."""
    units: dict[str, str] = Field(default_factory=dict)
    """Name of a metric → its unit (``kWh``), where the node tells none or a wrong one."""
    switch: str = ""
    """Name of the Boolean metric that is the relay, true is closed; default: Breaker/Closed and alike."""
    reorder_seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    """How long a missing message is waited for."""
    rebirth_seconds: Annotated[float, Field(ge=1, le=86_400)] = 30.0
    """Between two requests for a birth of the same node."""

    @field_validator("nodes", "exclude")
    @classmethod
    def _are_nodes(cls, nodes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(address(node).key for node in nodes)

    @field_validator("groups")
    @classmethod
    def _are_groups(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(checked_name(group, what="group") for group in groups)

    @field_validator("metrics")
    @classmethod
    def _are_quantities(cls, metrics: dict[str, str]) -> dict[str, str]:
        for name, quantity in metrics.items():
            if quantity and quantity not in QUANTITIES:
                raise ValueError(f"metric {name!r}: {quantity!r} is no quantity, such as voltage_l1")
        return metrics

    @field_validator("units")
    @classmethod
    def _are_units(cls, units: dict[str, str]) -> dict[str, str]:
        for name, unit in units.items():
            if unit not in UNITS:
                raise ValueError(f"metric {name!r}: {unit!r} is no unit, such as kWh")
        return units


class SparkplugFamily:
    """The host application's side; ``clock`` gives seconds since 1970, for timestamps of what it says."""

    name = "sparkplug"

    def __init__(self, options: SparkplugOptions, *, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._names = Names(options.metrics, options.units, switch=options.switch)
        self._limits = Limits(
            options.reorder_seconds, max(30.0, options.rebirth_seconds), options.rebirth_seconds
        )
        self.budget = Budget()
        """What may still be remembered."""
        self._nodes: dict[str, Node] = {}
        self._state_at: int | None = None
        for node in options.nodes:
            self._node(address(node))

    def subscriptions(self) -> tuple[str, ...]:
        """Births, deaths and data of the groups, and our own STATE."""
        groups = self._options.groups or ("+",)
        nodes = [f"{NAMESPACE}/{group}/{verb}/+" for group in groups for verb in NODE_VERBS]
        devices = [f"{NAMESPACE}/{group}/{verb}/+/+" for group in groups for verb in DEVICE_VERBS]
        return (state_topic(self._options.host), *nodes, *devices)

    def will(self) -> Outgoing:
        """STATE with ``online`` false; the STATE of :meth:`connected` has the same timestamp."""
        self._state_at = self._ms()
        return self._state(online=False)

    def connected(self, now: float) -> Sequence[Step]:
        """STATE, then a request for a birth to each node that is known."""
        for node in self._nodes.values():
            node.away(now)
        return [self._state(online=True), *self._asks(now)]

    def take(self, topic: str, payload: bytes, *, retained: bool, now: float) -> Sequence[Step]:
        """A message of a node, or our own STATE."""
        if topic == state_topic(self._options.host):
            return self._own_state(payload)
        told = parse(topic)
        if told is None or told.verb not in (*NODE_VERBS, *DEVICE_VERBS):
            return [Finding("sparkplug topic", f"{topic[:128]!r} is no topic of a node or device")]
        if told.of_node.key in self._options.exclude:
            return []
        if retained:
            return [Finding("sparkplug retained", f"{topic}: what is retained may be old; nothing should be")]
        node = self._node(told.of_node)
        if node is None:
            return [Finding("sparkplug nodes", f"{told.key}: more than {MAX_NODES} nodes")]
        return [*node.take(told, payload, now=now, ms=self._ms()), *self._ask(node, now)]

    def due(self, now: float) -> Sequence[Step]:
        """Gaps that have not closed, births that have not come, requests that had to wait."""
        steps = [step for node in self._nodes.values() for step in node.due(now)]
        return [*steps, *self._asks(now)]

    def switch(self, key: str, position: Position, *, token: str, now: float) -> Sequence[Step]:
        """DCMD (NCMD for a node's own relay); a DDATA of the metric from after the command confirms it."""
        node, device = self._find(key)
        if node is None or device is None:
            return [Refused(key, f"{key!r} is not known", token)]
        if device.switch is None:
            return [Refused(key, "it has no metric that is a relay: set switch in adapters.toml", token)]
        if not device.born:
            return [Refused(key, "it is offline", token)]
        at = self._ms()
        device.pending = Pending(token, position, at + node.ahead)
        payload = Payload(timestamp=at, metrics=(device.command(position, at=at),))
        verb = "DCMD" if device.address.device else "NCMD"
        return [Outgoing(device.address.topic(verb), encode(payload), qos=0)]

    def ask(self, key: str, *, now: float) -> Sequence[Step]:
        """A request for a birth, which has the relay's position; not more often than allowed."""
        node, _ = self._find(key)
        if node is None:
            return []
        node.rebirth_wanted = True
        return list(self._ask(node, now))

    def _node(self, where: Address) -> Node | None:
        if where.key not in self._nodes and len(self._nodes) < MAX_NODES:
            self._nodes[where.key] = Node(where, self._names, self._limits, self.budget)
        return self._nodes.get(where.key)

    def _find(self, key: str) -> tuple[Node | None, Device | None]:
        group, _, rest = key.partition("/")
        name, _, device = rest.partition("/")
        node = self._nodes.get(f"{group}/{name}")
        return node, (node.devices.get(device) if node else None)

    def _asks(self, now: float) -> Iterator[Outgoing]:
        for node in self._nodes.values():
            yield from self._ask(node, now)

    def _ask(self, node: Node, now: float) -> Iterator[Outgoing]:
        if node.ask(now):
            one = metric(REBIRTH, DataType.BOOLEAN, value=True, timestamp=self._ms())
            payload = Payload(timestamp=self._ms(), metrics=(one,))
            yield Outgoing(node.address.topic("NCMD"), encode(payload), qos=0)

    def _own_state(self, payload: bytes) -> list[Step]:
        try:
            told = json.loads(payload)
            online = bool(told["online"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return [Finding("sparkplug STATE", f"{payload[:64]!r} is no STATE of a host")]
        return [] if online else [self._state(online=True)]

    def _state(self, *, online: bool) -> Outgoing:
        if self._state_at is None:
            self._state_at = self._ms()
        told = json.dumps({"online": online, "timestamp": self._state_at})
        return Outgoing(state_topic(self._options.host), told.encode(), retain=True)

    def _ms(self) -> int:
        return round(self._clock() * 1000)


register(FamilyKind("sparkplug", "Sparkplug B 3.0", SparkplugOptions, SparkplugFamily, numbered=True))
