"""A simulated Sparkplug edge node with one meter and its relay: our own edge node, which also obeys here.

>>> edge = SimulatedEdge(Household(seed=1, number=7), 1)
>>> edge.will().topic, edge.birth(1.8e9)[1].topic
('spBv1.0/Simulated/NDEATH/house1', 'spBv1.0/Simulated/DBIRTH/house1/meter1')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from adapters.family import Outgoing
from adapters.simulated.device import DeviceKind, Message, register
from adapters.simulated.supply import Supply
from adapters.sparkplug.datatypes import DataType
from adapters.sparkplug.edge_node import EdgeNode, Item
from adapters.sparkplug.names import Address
from adapters.sparkplug.payload import Metric, decode
from adapters.sparkplug.wire import PayloadError
from broker.contract.quantities import QUANTITIES
from meter_firmware.sensors.household import Household

GROUP, RELAY = "Simulated", "Relay/Closed"
REBIRTH_SECONDS = 1.0


class SimulatedEdge:
    """The edge node with this number; ``household`` is its meter's load."""

    def __init__(self, household: Household, number: int) -> None:
        self._meter = Address(GROUP, f"house{number}", f"meter{number}")
        self.key = self._meter.key
        self._node = EdgeNode(GROUP, f"house{number}", rebirth_seconds=REBIRTH_SECONDS)
        self._supply = Supply(household)
        self._connections = 0

    @property
    def closed(self) -> bool:
        """Whether its relay is closed."""
        return self._supply.closed

    def will(self) -> Message:
        """NDEATH; each connection has its own bdSeq."""
        self._connections += 1
        (death,) = _messages([self._node.begin(self._connections % 256)])
        return death

    def birth(self, t: float) -> Sequence[Message]:
        """NBIRTH and DBIRTH."""
        return _messages([*self._tell(t), *self._node.connected(now=t, ms=_ms(t))])

    def subscriptions(self) -> Sequence[str]:
        """Commands to the node and to its meter."""
        return (Address(GROUP, self._meter.node).topic("NCMD"), self._meter.topic("DCMD"))

    def messages(self, t: float) -> Sequence[Message]:
        """DDATA of what has changed, and births that were asked for."""
        return _messages([*self._tell(t), *self._node.due(now=t, ms=_ms(t))])

    def take(self, topic: str, payload: bytes, t: float) -> Sequence[Message]:
        """A birth on request, or a position of the relay."""
        if topic != self._meter.topic("DCMD"):
            return _messages(self._node.take(topic, payload, now=t, ms=_ms(t)))
        try:
            wanted = [one for one in decode(payload).metrics if self._is_relay(one)]
            positions = [one.value(DataType.BOOLEAN) for one in wanted]
        except PayloadError:
            return []
        if not positions:
            return []
        self._supply.switch(closed=positions[-1] is True, t=t)
        return self.messages(t)

    def _is_relay(self, one: Metric) -> bool:
        return RELAY in (one.name, self._node.metric_of(self._meter.device, one.alias))

    def _tell(self, t: float) -> list[Outgoing]:
        return self._node.tell(self._meter.device, self._items(t), ms=_ms(t))

    def _items(self, t: float) -> Iterator[Item]:
        measured = self._supply.measure(t)
        for row in (QUANTITIES[name] for name in measured if name in QUANTITIES):
            yield Item(row.name, DataType.DOUBLE, float(measured[row.name]), _ms(t), unit=row.unit)
        yield Item(RELAY, DataType.BOOLEAN, self.closed, _ms(t))


def _messages(told: Iterable[Outgoing]) -> list[Message]:
    return [Message(one.topic, one.payload) for one in told]


def _ms(t: float) -> int:
    return round(t * 1000)


register(DeviceKind(family="sparkplug", make=SimulatedEdge))
