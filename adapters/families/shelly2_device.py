"""A Shelly of Gen2 or later: its components as metering points, and what their status says.

A three-phase meter (``em:0``) has the key MAC, and so has the first ``switch`` or ``pm1`` with a meter; the
others have ``MAC.2`` and so on. Clamps of their own (``em1``, profile monophase) are ``MAC.1`` to ``MAC.3``.

>>> plug = Device("shellyplus1pm-a0b0c0d0e0f0", "shellyplus1pm-a0b0c0d0e0f0", {})
>>> told = {"switch:0": {"output": True, "apower": 5}}
>>> [type(step).__name__ for step in plug.all(told, now=0.0, at=None, full=True)]
['Point', 'Switched', 'Values']
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from adapters.families.shelly2_history import Counters
from adapters.families.shelly2_status import COUNTERS_OF, METER_OF, Status, component, measured
from adapters.family import Available, Finding, Point, Step, Switched
from adapters.measured import Gathered, excerpt, in_order, number, text
from broker.contract.relay import Position

ID = re.compile(r"(shelly[0-9a-z]{1,40})-([0-9a-f]{12})\Z", re.ASCII)
INTERVAL = 60.0


@dataclass
class Device:
    """What is remembered of a device."""

    prefix: str
    """Beginning of its topics."""
    id: str
    relays: dict[str, int]
    """Of the options: component → the switch that switches it."""
    info: dict[str, Any] = field(default_factory=dict)
    """The answer to Shelly.GetDeviceInfo."""
    online: bool | None = None
    heard: float = float("-inf")
    """When it was heard last, by what is not retained."""
    notified: float = float("-inf")
    asked: float = float("-inf")
    """When its status was asked for."""
    status: dict[str, Status] = field(default_factory=dict)
    points: dict[str, Point] = field(default_factory=dict)
    """By component."""
    keys: dict[str, str] = field(default_factory=dict)
    """Component → key."""
    measures: dict[str, set[str]] = field(default_factory=dict)
    counters: dict[str, Counters] = field(default_factory=dict)

    @property
    def mac(self) -> str:
        """In capitals."""
        return self.id.rpartition("-")[2].upper()

    def key(self, name: str) -> str:
        """The key of a component's metering point: the same for ever."""
        if name not in self.keys:
            kind, place = name.split(":")
            clamp = kind == "em1"
            key = self.mac if place == "0" and not clamp else f"{self.mac}.{int(place) + 1}"
            self.keys[name] = f"{self.mac}.{kind}-{place}" if key in self.keys.values() else key
        return self.keys[name]

    def relay(self, name: str) -> int | None:
        """The number of the switch that switches a component's metering point; None if there is none."""
        kind, _, place = name.partition(":")
        return self.relays.get(name, int(place) if kind == "switch" else None)

    def of_key(self, key: str) -> str | None:
        """The component of a metering point."""
        return next((name for name, point in self.points.items() if point.key == key), None)

    def alive(self, online: bool) -> Iterator[Step]:
        """It is there, or not. What is known of a device that was away counts no more."""
        if not online:
            self.status.clear()
            self.asked = float("-inf")
        if online is not self.online:
            self.online = online
            yield from (Available(point.key, online) for point in self.points.values())

    def all(
        self, told: dict[str, Any], *, now: float, at: datetime | None, full: bool, silent: bool = False
    ) -> Iterator[Step]:
        """The status of components, or what has changed of it; ``silent`` for a copy of it."""
        heard: dict[str, None] = {}
        for name, fields in told.items():
            found = component(name)
            if found is None or not isinstance(fields, dict):
                continue
            kind, place = found
            status = self.status.setdefault(f"{kind}:{place}", Status(kind))
            (status.replace if full else status.change)(fields, now=now)
            heard[f"{METER_OF.get(kind, kind)}:{place}"] = None
            if kind == "switch":
                yield from self._output(place, fields)
        for name in heard:
            yield from self._values(name, now=now, at=at, silent=silent)

    def incomplete(self) -> bool:
        """Whether it has told changes of what is not known as a whole."""
        return any(not status.complete for status in self.status.values())

    def registers(self, name: str) -> dict[str, Decimal]:
        """The counters of a meter as they were told last."""
        kind, _, place = name.partition(":")
        status = self.status.get(f"{COUNTERS_OF.get(kind, kind)}:{place}")
        found = measured(status.kind, status.fields).measured if status else {}
        values = {name: number(value) for name, value in found.items()}
        return {name: value for name, value in values.items() if value is not None}

    def _output(self, place: int, fields: dict[str, Any]) -> Iterator[Step]:
        output = fields.get("output")
        if isinstance(output, bool):
            position = Position.CLOSED if output else Position.OPEN
            yield from (
                Switched(point.key, position)
                for name, point in self.points.items()
                if self.relay(name) == place
            )
        elif output is not None:
            yield Finding("relay's position is not known", f"switch:{place} of {self.id}: {excerpt(output)}")

    def _values(self, name: str, *, now: float, at: datetime | None, silent: bool) -> Iterator[Step]:
        kind, _, place = name.partition(":")
        parts = [
            status
            for part in (name, f"{COUNTERS_OF.get(kind, '')}:{place}")
            if (status := self.status.get(part)) and status.fresh(now)
        ]
        told = Gathered()
        for status in parts:
            two_way = "energy_export" in self.measures.get(name, ())
            found = measured(status.kind, status.fields, complete=status.complete, two_way=two_way)
            told.measured |= found.measured
            told.findings += found.findings
        if told.measured:
            yield from self._news(name, told)
        if not silent:
            yield from told.steps(self.key(name), at=at, where=f"{name} of {self.id}")

    def _news(self, name: str, told: Gathered) -> Iterator[Step]:
        known = self.measures.setdefault(name, set())
        known.update(told.measured)
        if "energy_export" in known:
            known.discard("energy")
        point, before = self._point(name, in_order(known)), self.points.get(name)
        if point != before:
            self.points[name] = point
            yield point
        if before is None:
            if self.online is not None:
                yield Available(point.key, self.online)
            relay = self.relay(name)
            status = self.status.get(f"switch:{relay}")
            if status and isinstance(output := status.fields.get("output"), bool):
                yield Switched(point.key, Position.CLOSED if output else Position.OPEN)

    def _point(self, name: str, quantities: tuple[str, ...]) -> Point:
        key = self.key(name)
        own = text(self.info.get("name"), otherwise=self.id)
        return Point(
            key=key,
            name=own if key == self.mac else f"{own} {name}",
            vendor="Shelly",
            model=text(self.info.get("model"), otherwise=self.id.rpartition("-")[0]),
            serial=self.mac,
            firmware=text(self.info.get("ver"), otherwise=text(self.info.get("fw_id"))),
            quantities=quantities,
            switch=self.relay(name) is not None,
            interval=INTERVAL,
        )

    def informed(self, info: dict[str, Any]) -> Iterator[Step]:
        """The answer to Shelly.GetDeviceInfo: the metering points have a name and a model."""
        self.info = {name: text(info.get(name)) for name in ("name", "model", "ver", "fw_id")}
        for name, before in list(self.points.items()):
            point = self._point(name, before.quantities)
            if point != before:
                self.points[name] = point
                yield point
