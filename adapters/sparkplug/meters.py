"""Our meters as devices of an edge node: what each is, and when it is born and dies. No socket, no clock.

A device has the meter's id as its name, and a metric for each quantity of its birth, named as on our topics
(``power``, ``energy_import``, ``voltage_l1``). A quantity without a good value is null: one that the last
reading did not have, and all of them while the meter is stale. Readings of the history topic are not sent.

>>> [item.name for item in items(Fleet().meter("3f2504e0-4f89-41d3-9a0c-0305e82c3301"), good=True, ms=0)]
[]
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pydantic import ValidationError

from adapters.family import Outgoing
from adapters.sparkplug.datatypes import DataType
from adapters.sparkplug.edge_node import EdgeNode, Item
from broker.contract.errors import ContractError
from broker.contract.fleet import Fleet, MeterState, State
from broker.contract.messages import utc_now
from broker.contract.quantities import QUANTITIES
from broker.contract.relay import Position
from broker.contract.topics import Topics

FED = ("birth", "status", "access", "relay", "reading")
"""Kinds of topics that we read."""
GRACE = 3.0
"""Seconds after a connection, for what is retained to come, before a meter counts as offline."""
ALIVE = frozenset({State.ONLINE, State.STALE})


class Mirror:
    """Hears what the meters say, and tells it as the edge node."""

    def __init__(self, node: EdgeNode, topics: Topics, *, stale_intervals: float = 3.0) -> None:
        self.node = node
        self.fleet = Fleet(stale_intervals=stale_intervals)
        self._topics = topics
        self._settled_at = float("inf")
        self._told: set[str] = set()
        self._changed_source = False

    def source(self, *, up: bool, now: float) -> None:
        """The connection on which we hear the meters stands, or is lost: then all of them are stale."""
        self.fleet.broker_up, self._changed_source = up, True
        self._settled_at = now + GRACE
        if not up:
            self.fleet.forget_statuses()

    def take(self, name: str, payload: bytes, *, retained: bool, now: float, ms: int) -> list[Outgoing]:
        """A message of a meter; one that is not of the contract is counted."""
        try:
            topic = self._topics.parse(name)
            if topic.kind not in FED:
                return []
            meter = self.fleet.meter(topic.name)
            if not self._noted(meter, topic.kind, payload, retained=retained, now=now):
                return []
        except (ContractError, ValidationError):
            self.node.counters["unreadable"] += 1
            return []
        return self._tell(meter, now=now, ms=ms)

    def due(self, *, now: float, ms: int) -> list[Outgoing]:
        """What time has brought: meters that are stale or offline, births that were asked for."""
        changed = list(self.fleet.newly_stale(now))
        if self._changed_source:
            self._changed_source, changed = False, list(self.fleet.meters.values())
        up = self.fleet.broker_up
        lost = [
            meter for meter in map(self.fleet.meter, self._told) if meter.state(broker_up=up) not in ALIVE
        ]
        told = [one for meter in (*changed, *lost) for one in self._tell(meter, now=now, ms=ms)]
        return [*told, *self.node.due(now=now, ms=ms)]

    def _noted(self, meter: MeterState, kind: str, payload: bytes, *, retained: bool, now: float) -> bool:
        if kind == "reading":
            return self.fleet.take_payload(meter, payload, now=now, retained=retained)
        return self.fleet.take_state(meter, kind, payload, now=utc_now(), retained=retained, monotonic=now)

    def _tell(self, meter: MeterState, *, now: float, ms: int) -> list[Outgoing]:
        state = meter.state(broker_up=self.fleet.broker_up)
        if state in ALIVE and (self.fleet.broker_up or meter.meter_id in self._told):
            self._told.add(meter.meter_id)
            return self.node.tell(meter.meter_id, items(meter, good=state is State.ONLINE, ms=ms), ms=ms)
        if meter.meter_id in self._told and (state is State.OUT or now >= self._settled_at):
            self._told.discard(meter.meter_id)
            return self.node.bury(meter.meter_id, ms=ms)
        return []


def items(meter: MeterState, *, good: bool, ms: int) -> Iterator[Item]:
    """All that a device has; quantities without a ``good`` value are null, as of ``ms`` or of the reading."""
    birth, reading = meter.birth, meter.reading
    if birth is None:
        return
    born = _ms(birth.ts)
    for name in birth.quantities:
        if name in QUANTITIES:
            value = getattr(reading, name) if good and reading else None
            at = _ms(reading.ts) if good and reading else ms
            yield Item(name, DataType.DOUBLE, value, at, unit=QUANTITIES[name].unit)
    if birth.relay:
        closed = None if meter.relay is None else meter.relay.position is Position.CLOSED
        at = _ms(meter.relay.ts) if meter.relay else born
        yield Item("Relay/Closed", DataType.BOOLEAN, closed, at)
    told = {
        "Name": birth.name,
        "Vendor": birth.hardware.vendor,
        "Model": birth.hardware.model,
        "Serial": birth.hardware.serial,
        "Firmware": birth.firmware,
        "Address": birth.address,
        "Address code": birth.address_code,
    }
    for name, text in told.items():
        if text:
            yield Item(f"Properties/{name}", DataType.STRING, text, born)


def _ms(ts: datetime) -> int:
    return round(ts.timestamp() * 1000)
