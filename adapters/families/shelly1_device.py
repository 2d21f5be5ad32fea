"""A Shelly of the first generation: values that come one by one, put together to metering points.

A 3EM is one three-phase meter; another device has a metering point for each relay with a meter and for each
clamp. The first relay's key is the device id, further ones are ``ID.2`` and so on; clamps are ``ID.1`` and
``ID.2``.

>>> plug = Device("shellyplug-s-DDEEFF", DeviceOptions())
>>> plug.value("relay", 0, "power", b"43.26", now=0.0), plug.value("relay", 0, "energy", b"154212", now=0.1)
([], [])
>>> [step.measured for step in plug.assembled(now=0.6) if hasattr(step, "measured")]
[{'power': 43.26, 'energy': 2570.2}]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from adapters.families.registry import Options
from adapters.family import Available, Finding, Point, Step, Switched
from adapters.measured import Gathered, excerpt, in_order, text, text_number, total
from broker.contract.relay import Position

FRESH = 75.0
"""Seconds for which a value counts beside newer ones: all come each 30 s (``update_period``)."""
INTERVAL = 30.0
MOST = 8
"""Relays, or clamps, that are read."""

CLAMP = {
    "power": "power",
    "voltage": "voltage",
    "current": "current",
    "pf": "power_factor",
    "reactive_power": "reactive_power",
    "total": "energy_import",
    "total_returned": "energy_export",
}
"""Topic below ``emeter/0`` → quantity. ``energy`` there is of an interval, no counter."""
RELAY = {"power": "power", "energy": "energy"}
"""Topic below ``relay/0`` → quantity; this ``energy`` is a counter, in Watt-minutes."""
NEUTRAL = {"current": "current_n"}
WANTED = {"emeter": CLAMP, "relay": RELAY, "emeter_n": NEUTRAL, "": {"voltage": "voltage"}}
_SUMS = ("power", "reactive_power", "energy_import", "energy_export")
_POSITIONS = {b"on": Position.CLOSED, b"off": Position.OPEN, b"overpower": Position.OPEN}


class DeviceOptions(Options):
    """What the messages of one device leave open."""

    phases: bool | None = None
    """Whether its clamps are the phases of one meter; None: a 3EM's are."""
    relay: int | None = None
    """The relay that switches a metering point of clamps; None: the only one of a three-phase meter."""


@dataclass
class Device:
    """What is remembered of a device."""

    id: str
    options: DeviceOptions
    about: dict[str, str] = field(default_factory=dict)
    """Of its announcement."""
    online: bool | None = None
    relays: set[int] = field(default_factory=set)
    points: dict[str, Point] = field(default_factory=dict)
    """By key."""
    measures: dict[str, set[str]] = field(default_factory=dict)
    positions: dict[int, Position] = field(default_factory=dict)
    _metered: dict[str, int] = field(default_factory=dict)
    """Key → relay, of relays with a meter."""
    _values: dict[tuple[str, int, str], tuple[Decimal, float]] = field(default_factory=dict)

    @property
    def phases(self) -> bool:
        """Whether its clamps are the phases of one meter."""
        if self.options.phases is not None:
            return self.options.phases
        return self.id.startswith("shellyem3-") or self.about.get("model") == "SHEM-3"

    def relay(self, key: str) -> int | None:
        """The number of the relay that switches a metering point; None if there is none."""
        if key in self._metered:
            return self._metered[key]
        if self.options.relay is not None:
            return self.options.relay
        return 0 if self.phases and self.relays == {0} else None

    def announced(self, told: dict[str, Any]) -> Iterator[Step]:
        """Model, MAC and firmware."""
        self.about = {name: text(told.get(name)) for name in ("model", "mac", "fw_ver")}
        yield from self._again()

    def alive(self, online: bool) -> Iterator[Step]:
        """It is there, or not. What is known of a device that was away counts no more."""
        if not online:
            self._values.clear()
        if online is not self.online:
            self.online = online
            yield from (Available(key, online) for key in self.points)

    def value(self, kind: str, number: int, what: str, payload: bytes, *, now: float) -> list[Step]:
        """One value; a Finding if it is none."""
        told = text_number(payload)
        if told is None:
            self._values.pop((kind, number, what), None)
            where = "/".join(filter(None, (self.id, kind, str(number), what)))
            return [Finding("value is no number", f"{where}: {excerpt(payload)}")]
        self._values[kind, number, what] = (told, now)
        return []

    def switched(self, number: int, payload: bytes) -> Iterator[Step]:
        """Where a relay is; after ``overpower`` it is open."""
        position = _POSITIONS.get(payload)
        if position is None:
            yield Finding("relay's position is not known", f"relay/{number} of {self.id}: {excerpt(payload)}")
            return
        self.relays.add(number)
        self.positions[number] = position
        yield from self._again()
        yield from (Switched(key, position) for key in self.points if self.relay(key) == number)

    def assembled(self, *, now: float) -> Iterator[Step]:
        """What has come, as values of each metering point."""
        known = {place: told for place, (told, at) in self._values.items() if now - at <= FRESH}
        for key, gathered in self._gathered(known).items():
            if gathered.measured:
                yield from self._news(key, gathered)
            yield from gathered.steps(key, where=self.id)

    def _key(self, kind: str, number: int) -> str:
        if kind == "emeter" and not self.phases:
            return f"{self.id}.{number + 1}"
        return self.id if number == 0 or kind != "relay" else f"{self.id}.{number + 1}"

    def _gathered(self, known: dict[tuple[str, int, str], Decimal]) -> dict[str, Gathered]:
        found: dict[str, Gathered] = {}
        for (kind, number, what), told in known.items():
            phased = kind == "emeter" and self.phases
            if not kind or (kind == "emeter_n" and not self.phases) or (phased and number > 2):
                continue
            gathered = found.setdefault(self._key(kind, number), Gathered())
            name = WANTED[kind][what] + (f"_l{number + 1}" if phased else "")
            gathered.put(name, told / 60 if (kind, what) == ("relay", "energy") else told)
            if kind == "relay":
                self._metered[self._key(kind, number)] = number
                gathered.put("voltage", known.get(("", 0, "voltage")))
        if self.phases and self.id in found:
            _sum(found[self.id], known)
        for gathered in found.values():
            gathered.sign_power_factors()
        return found

    def _news(self, key: str, gathered: Gathered) -> Iterator[Step]:
        self.measures.setdefault(key, set()).update(gathered.measured)
        before = self.points.get(key)
        yield from self._again(key)
        if before is not None:
            return
        if self.online is not None:
            yield Available(key, self.online)
        if (relay := self.relay(key)) is not None and relay in self.positions:
            yield Switched(key, self.positions[relay])

    def _again(self, *keys: str) -> Iterator[Step]:
        """The metering points that have changed."""
        for key in keys or tuple(self.points):
            point = self._point(key)
            if point != self.points.get(key):
                self.points[key] = point
                yield point

    def _point(self, key: str) -> Point:
        model, _, mac = self.id.rpartition("-")
        return Point(
            key=key,
            name=key,
            vendor="Shelly",
            model=self.about.get("model") or model,
            serial=self.about.get("mac") or mac,
            firmware=self.about.get("fw_ver", ""),
            quantities=in_order(self.measures[key]),
            switch=self.relay(key) is not None,
            interval=INTERVAL,
        )


def _sum(gathered: Gathered, known: dict[tuple[str, int, str], Decimal]) -> None:
    """The totals of three phases, where all three are there."""
    for what, name in CLAMP.items():
        phases = [known.get(("emeter", number, what)) for number in range(3)]
        if name in _SUMS and (whole := total(phases)) is not None:
            gathered.put(name, whole)
